"""Fetch public scenes: only what is asked for, resumed where it was cut, whole or not at all."""
