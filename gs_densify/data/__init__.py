"""COLMAP scenes, presets, photos, and the embedded tiny scene."""
