"""The synthetic scene that is made on first use."""
