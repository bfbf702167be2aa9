"""The worker program with the classes of the fault suite on its shelf."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

import tests.faults.jobs
import tests.sample_jobs  # noqa: F401 - its classes register themselves
from spoils.cli.worker import worker_program

if __name__ == "__main__":
    sys.exit(worker_program())
