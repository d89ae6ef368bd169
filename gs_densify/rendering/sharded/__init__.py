"""Rendering a model of which every process of a group holds a share of the Gaussians."""
