"""The `evaluate` module `uar`; from Python, its function without `evaluate`."""

from hf_ser.evaluation.metrics.uar.uar import unweighted_average_recall

__all__ = ["unweighted_average_recall"]
