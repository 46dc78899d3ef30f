"""Data sets: read, split by speaker, and proved."""
