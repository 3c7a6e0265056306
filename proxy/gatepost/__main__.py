"""`python -m gatepost`: the same as the command `gatepost`."""

from gatepost.cli.main import main

main()
