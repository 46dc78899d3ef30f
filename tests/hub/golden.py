"""The rendered cards in model_cards/, one for each recipe, and the records of runs that they are rendered from.

`python tests/hub/golden.py` renders the cards again. `python tests/hub/golden.py RUN ...` first takes over the records
of finished runs, each in the place of those of its recipe.
"""

import json
import sys
from pathlib import Path

from hf_ser.hub.card import render_model_card
from hf_ser.hub.facts import shareable_record

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


def take_over(run_folder: Path, records: Path = RECORDS) -> Path:
    """Keep the records of a finished run for its recipe's card, without this machine's paths; return their folder."""
    run, metrics = (
        json.loads((run_folder / name).read_text(encoding="utf-8")) for name in ("run.json", "metrics.json")
    )
    folder = records / run["recipe"]["name"]
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in (("run.json", shareable_record(run)), ("metrics.json", metrics)):
        text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
        (folder / name).write_text(text + "\n", encoding="utf-8")
    return folder


if __name__ == "__main__":
    for run_folder in sys.argv[1:]:
        sys.stdout.write(f"{take_over(Path(run_folder))}\n")
    for rendered in render_golden_cards(CARDS):
        sys.stdout.write(f"{rendered}\n")
