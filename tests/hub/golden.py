"""The rendered cards in model_cards/, one for each recipe: `python tests/hub/golden.py` renders them again."""

import json
import sys
from pathlib import Path

from hf_ser.hub.card import render_model_card

RECORDS = Path(__file__).parent / "records"
CARDS = Path(__file__).resolve().parents[2] / "model_cards"


def read_records(recipe: str) -> tuple[dict, dict]:
    """Return run.json and metrics.json of the run that a recipe's card is rendered from."""
    run, metrics = (json.loads((RECORDS / recipe / name).read_text()) for name in ("run.json", "metrics.json"))
    return run, metrics


def render_golden_cards(folder: Path) -> list[Path]:
    """Render the card of every recipe that has records into a folder, and return the files."""
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for recipe in sorted(entry.name for entry in RECORDS.iterdir()):
        file = folder / f"{recipe}.md"
        run, metrics = read_records(recipe)
        repo_id = f"your-name/hubert-ser-{recipe.replace('_', '-')}"
        file.write_text(render_model_card(run, metrics, repo_id=repo_id), encoding="utf-8")
        files.append(file)
    return files


if __name__ == "__main__":
    for rendered in render_golden_cards(CARDS):
        sys.stdout.write(f"{rendered}\n")
