"""The life of a run: train, resume, score again, and every file that it writes."""
