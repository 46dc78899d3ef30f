"""Prediction with fine-tuned models."""
