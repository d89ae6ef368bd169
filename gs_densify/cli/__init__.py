"""Commands: parse, call one function, map errors to exit codes."""

from gs_densify.cli.interrupt import listen

listen()
