"""Tables, plots and a page from the result files of many runs. Imports no torch."""
