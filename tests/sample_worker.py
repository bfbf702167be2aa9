"""The worker program with the tests' job classes on its shelf: python -m tests.sample_worker"""

import sys

import tests.sample_jobs  # noqa: F401 - its classes register themselves
from spoils.cli import worker_program

if __name__ == "__main__":
    sys.exit(worker_program())
