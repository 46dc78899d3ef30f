"""The `evaluate` module `f1`; from Python, its functions without `evaluate`."""

from hf_ser.evaluation.metrics.f1.f1 import f1_averages, precision_recall_f1

__all__ = ["f1_averages", "precision_recall_f1"]
