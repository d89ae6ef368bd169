"""The file formats of a model."""
