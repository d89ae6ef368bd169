"""What listens to a run and writes or prints something of its own, one a file; see `base`."""
