"""A job at half past two in Berlin, and one at each half past."""

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
