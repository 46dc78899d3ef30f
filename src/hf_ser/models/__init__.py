"""Speech encoders with a classification head, and the recipes that fine-tune them."""
