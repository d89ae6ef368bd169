"""The options of a run, and the layers that set them, from defaults to flags."""
