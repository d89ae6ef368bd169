"""Commands: parse, call one function, map errors to exit codes."""

from gs_densify.cli.interrupt import show_no_traceback

show_no_traceback()
