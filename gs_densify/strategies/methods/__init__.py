"""The built-in strategies, one published method a file."""
