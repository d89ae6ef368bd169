"""Several processes that work on one model: who they are, and what they tell one another."""
