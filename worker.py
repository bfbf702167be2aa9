"""The worker program: `python worker.py`."""

import sys

from spoils.cli.worker import worker_program

if __name__ == "__main__":
    sys.exit(worker_program())
