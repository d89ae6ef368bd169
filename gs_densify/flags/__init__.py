"""Command lines: the options of a form, what their values may be, complaints, help."""
