"""A window onto a trained model in a web browser."""
