"""Terms of the loss besides the photometric one, one a file; see `base` for what a term is."""
