"""What a fine-tuned classifier is worth: metrics, their uncertainty, report and plots."""
