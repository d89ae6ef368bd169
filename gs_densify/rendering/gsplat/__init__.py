"""gsplat's CUDA rasteriser."""
