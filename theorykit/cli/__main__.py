"""``python -m theorykit.cli``."""

from theorykit.cli.app import main

main()
