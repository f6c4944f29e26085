"""The command line: parse, call, print.

``app.py`` registers the commands and turns what goes wrong into one line and an exit code; every command is a file of
its own; what they share is in ``options.py`` (arguments) and ``output.py`` (printing).
"""

from lopsided.cli.app import main

__all__ = ["main"]
