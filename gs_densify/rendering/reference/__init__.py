"""The torch reference rasteriser."""
