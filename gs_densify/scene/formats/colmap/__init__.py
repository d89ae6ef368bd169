"""COLMAP models, binary and text, as plain records."""
