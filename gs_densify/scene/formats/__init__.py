"""The formats in which a scene can lie on disk."""
