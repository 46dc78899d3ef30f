"""The `evaluate` module `eer`; from Python, its functions without `evaluate`."""

from hf_ser.evaluation.metrics.eer.eer import equal_error_rate, one_vs_rest_eer

__all__ = ["equal_error_rate", "one_vs_rest_eer"]
