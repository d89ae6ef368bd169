"""The configuration, the loop, its schedules, losses and checkpoints."""
