"""The worker program with the measured classes on its shelf."""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from spoils.cli.worker import worker_program
from spoils.job import Job
from tests.bench.jobs import NoopJob  # its module's classes register themselves


def _extra_types(number: int) -> None:
    """Define so many further types: what a large code base would have."""
    for one in range(number):
        type(f"Extra{one}Job", (Job,), {"__module__": __name__, "run": NoopJob.run})


if __name__ == "__main__":
    _extra_types(int(os.environ.get("BENCH_TYPES", "0")))
    sys.exit(worker_program())
