"""The `evaluate` module `confusion`; from Python, its functions without `evaluate`."""

from hf_ser.evaluation.metrics.confusion.confusion import confusion_counts, row_percent

__all__ = ["confusion_counts", "row_percent"]
