"""The worker program with the measured classes on its shelf."""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

import tests.bench.jobs  # noqa: F401 - its classes register themselves
from spoils.cli.worker import worker_program
from spoils.job import Job, Queue


def _extra_types(number: int) -> None:
    """Define so many further types: what a large code base would have."""
    for one in range(number):

        class Extra(Job):
            task_type = f"extra_{one}"
            endpoint = f"extra-{one}"

            def run(self, queue: Queue) -> None:
                return None


if __name__ == "__main__":
    _extra_types(int(os.environ.get("BENCH_TYPES", "0")))
    sys.exit(worker_program())
