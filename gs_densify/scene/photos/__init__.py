"""Photos: where they are, how they are decoded, resized, undistorted and kept."""
