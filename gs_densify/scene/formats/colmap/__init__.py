"""COLMAP models, binary and text, read through pycolmap."""
