"""gs_densify: train 3D Gaussian Splatting under a pluggable densification strategy."""

__version__ = "0.1.0"
