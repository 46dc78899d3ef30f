"""The `evaluate` module `paper_eer`; from Python, its function without `evaluate`."""

from hf_ser.evaluation.metrics.paper_eer.paper_eer import paper_equal_error_rate

__all__ = ["paper_equal_error_rate"]
