"""A worker program with one job at half past two in Berlin, and one at each half past."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from spoils.cli.worker import worker_program
from spoils.job import Job, Queue


class NightJob(Job):
    """Stands at a fixed time, which one night in spring skips and one in autumn has twice."""

    cron = "30 2 * * *"
    cron_timezone = "Europe/Berlin"

    def run(self, queue: Queue) -> None:
        return None


class HalfPastJob(Job):
    """Follows elapsed time."""

    cron = "30 * * * *"
    cron_timezone = "Europe/Berlin"

    def run(self, queue: Queue) -> None:
        return None


if __name__ == "__main__":
    sys.exit(worker_program())
