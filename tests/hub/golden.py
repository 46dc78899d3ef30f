"""The rendered cards in model_cards/, one for each recipe, and the records of the runs that they are rendered from.

`python tests/hub/golden.py` renders the cards again. `python tests/hub/golden.py RUN ...` first copies the records of
finished runs, each in place of those of its recipe. The records in tests/hub/records are invented examples, for tests
alone: a large encoder, and adapters on a base from the Hub.
"""

import json
import sys
from pathlib import Path

from hf_ser.hub.card import render_model_card
from hf_ser.hub.facts import shareable_record

RECORDS = Path(__file__).parent / "records"
CARDS = Path(__file__).resolve().parents[2] / "model_cards"
RUNS = CARDS / "records"


def read_records(recipe: str, folder: Path | None = None) -> tuple[dict, dict]:
    """Return run.json and metrics.json of a recipe's run, or of a folder."""
    folder = folder or RECORDS / recipe
    run, metrics = (json.loads((folder / name).read_text(encoding="utf-8")) for name in ("run.json", "metrics.json"))
    return run, metrics


def render_golden_cards(folder: Path) -> list[Path]:
    """Render the card of every recipe that has records into a folder, and return the files."""
    files = []
    for recipe in sorted(entry.name for entry in RUNS.iterdir()):
        files.append(folder / f"{recipe}.md")
        repo_id = f"your-name/hubert-ser-{recipe.replace('_', '-')}"
        files[-1].write_text(render_model_card(*read_records("", RUNS / recipe), repo_id=repo_id), encoding="utf-8")
    return files


def copy_records(run_folder: Path, records: Path = RUNS) -> Path:
    """Copy the records of a finished run, without local paths, for its recipe's card; return their folder."""
    run, metrics = read_records("", run_folder)
    folder = records / run["recipe"]["name"]
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in (("run.json", shareable_record(run)), ("metrics.json", metrics)):
        text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
        (folder / name).write_text(text + "\n", encoding="utf-8")
    return folder


if __name__ == "__main__":
    for run_folder in sys.argv[1:]:
        sys.stdout.write(f"{copy_records(Path(run_folder))}\n")
    for rendered in render_golden_cards(CARDS):
        sys.stdout.write(f"{rendered}\n")
