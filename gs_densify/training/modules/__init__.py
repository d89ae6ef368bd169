"""What is trained beside the Gaussians, one module a file; see `base` for what a module is."""
