"""The `evaluate` module `accuracy`; from Python, its function without `evaluate`."""

from hf_ser.evaluation.metrics.accuracy.accuracy import accuracy_score

__all__ = ["accuracy_score"]
