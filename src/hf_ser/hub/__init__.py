"""What is shared beyond this machine: cards, repositories."""
