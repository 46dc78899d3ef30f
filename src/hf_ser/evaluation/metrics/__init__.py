"""Metrics as self-contained `evaluate` modules, one folder each; their formulas stand in those files alone.

`load_metric("eer")` gives the `evaluate` module; `from hf_ser.evaluation.metrics.eer import equal_error_rate`
gives the function, in numpy and without importing `evaluate` (seconds).
"""

from pathlib import Path
from typing import Any

from hf_ser.errors import InputError

__all__ = ["METRICS", "load_metric", "require_metric"]

METRICS: tuple[str, ...] = ("accuracy", "uar", "f1", "eer", "paper_eer", "confusion")
"""The names of the metrics, each a folder beside this file that `evaluate.load` takes."""


def load_metric(name: str, **settings: Any) -> Any:
    """Return one of this package's metrics as an `evaluate` module; never asks the network.

    Args:
        name: One of `METRICS`.
        **settings: Handed to `evaluate.load`, such as `experiment_id`, `num_process` and `process_id`.

    Returns:
        An `evaluate.Metric` with `compute`, `add` and `add_batch`.

    Raises:
        InputError: There is no metric of that name.

    Example:
        >>> load_metric("wer")
        Traceback (most recent call last):
        ...
        hf_ser.errors.InputError: metric 'wer' is unknown; choose accuracy, uar, f1, eer, ... or confusion
    """
    require_metric(name)
    import evaluate

    return evaluate.load(str(Path(__file__).parent / name), **settings)


def require_metric(name: str) -> None:
    """Refuse a name that is no metric of this package.

    Raises:
        InputError: There is no metric of that name.

    Example:
        >>> require_metric("eer")
    """
    if name not in METRICS:
        raise InputError(f"metric {name!r} is unknown; choose {', '.join(METRICS[:-1])} or {METRICS[-1]}")
