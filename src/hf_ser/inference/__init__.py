"""Fine-tuned models at work."""
