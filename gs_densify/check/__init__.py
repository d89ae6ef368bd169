"""The contract of a strategy as checks that can be run."""
