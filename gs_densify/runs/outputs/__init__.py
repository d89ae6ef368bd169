"""What listens to a run and writes something of its own."""
