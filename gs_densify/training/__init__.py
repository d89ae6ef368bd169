"""The loop, and what its steps need."""
