"""A CUDA rasteriser of our own, compiled on first use."""
