"""Metrics as `evaluate` modules, one file each; their formulas are in those files, in numpy."""

from pathlib import Path
from typing import Any

from hf_ser.errors import InputError

__all__ = ["METRICS", "load_metric", "metric_files"]

METRICS: tuple[str, ...] = ("accuracy", "uar", "f1", "eer", "paper_eer", "confusion")
"""Names of the metrics: NAME.py in this folder is the `evaluate` module, NAME.md its card."""


def load_metric(name: str, **settings: Any) -> Any:
    """Return a metric of this package as an `evaluate` module; works offline.

    `settings` are arguments of `evaluate.load`, such as `experiment_id`, `num_process` and `process_id`.

    Example:
        >>> load_metric("wer")
        Traceback (most recent call last):
        ...
        hf_ser.errors.InputError: metric 'wer' is unknown; choose accuracy, uar, f1, eer, ... or confusion
    """
    file = str(metric_files(name)[f"{name}.py"])
    import evaluate

    return evaluate.load(file, **settings)


def metric_files(name: str) -> dict[str, Path]:
    """Return the files of a metric by their names in a folder (or a Space) that `evaluate.load` can load.

    `evaluate` looks for a module with the name of that folder: rename `NAME.py` if the folder's name differs.
    """
    if name not in METRICS:
        raise InputError(f"metric {name!r} is unknown; choose {', '.join(METRICS[:-1])} or {METRICS[-1]}")
    here = Path(__file__).parent
    return {"README.md": here / f"{name}.md", f"{name}.py": here / f"{name}.py", "counts.py": here / "counts.py"}
