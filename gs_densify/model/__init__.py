"""The parameters of a Gaussian model, their initialisation, and its files."""
