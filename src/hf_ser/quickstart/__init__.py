"""An embedded default for trying the library offline: synthetic corpora and a tiny random encoder.

Nothing that is measured here says anything about emotion in speech: it shows that the software runs.
"""
