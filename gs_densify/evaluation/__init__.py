"""Metrics of held-out views, and the protocol block that says how they were computed."""
