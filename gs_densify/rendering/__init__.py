"""What a rasteriser takes and gives; gsplat on CUDA; a torch reference on any device."""
