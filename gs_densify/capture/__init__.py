"""Is a capture good enough to train on? Measures of its photos and of its COLMAP model."""
