"""Memory of the host and of a GPU: what is free, limits, and what is said where it runs out."""
