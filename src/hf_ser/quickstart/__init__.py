"""An offline example: synthetic corpora, a tiny random encoder and the three recipes on them.

Its figures only show that the pipeline runs; they say nothing about emotion in speech.
"""
