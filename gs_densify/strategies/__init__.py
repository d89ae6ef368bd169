"""Densification: the contract, the operations, the registry, one file for each method."""
