"""`python -m spoils <command>`, and the installed command `spoils`."""

import os
import sys

from spoils.cli.commands import main


def installed_command() -> None:
    """Run a command. As with `python -m`, modules of the current folder can be imported, as SPOILS_JOBS may name."""
    sys.path.insert(0, os.getcwd())  # noqa: PTH109 - a text is what sys.path holds
    main()


if __name__ == "__main__":
    main()
