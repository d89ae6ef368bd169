"""Which Gaussians a pixel shows, and what falls on each Gaussian."""
