"""The files of a run: schema, save, load (standard library only)."""
