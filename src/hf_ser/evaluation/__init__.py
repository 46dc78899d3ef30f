"""Evaluation of a classifier: metrics, intervals, report and plots."""
