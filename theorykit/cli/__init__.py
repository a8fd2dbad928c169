"""The command line: one file per command; numbers come from the library, words and tables from here."""

from theorykit.cli.app import main

__all__ = ["main"]
