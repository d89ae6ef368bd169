"""Says whether this package's own Triton kernels can be compiled."""

from importlib.util import find_spec

HAS_TRITON = find_spec("triton") is not None
"""It comes with torch for CUDA on Linux; without it CUDA takes the torch paths."""
