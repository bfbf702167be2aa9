"""The worker program with the tests' job classes on its shelf."""

import sys
from pathlib import Path

# In place of this folder, whose `queue` would hide the standard library's.
sys.path[0] = str(Path(__file__).resolve().parent.parent)

import tests.sample_jobs  # noqa: E402, F401 - its classes register themselves
from spoils.cli.worker import worker_program  # noqa: E402

if __name__ == "__main__":
    sys.exit(worker_program())
