"""The job that the neutral benchmark runs."""

import os
import struct
import time

from spoils import Job, Queue

PIPE = "NEUTRAL_PIPE"
"""Holds the descriptor to which each job writes one `RECORD`: the seconds from enqueue to start, and to end."""
RECORD = struct.Struct("dd")
SECONDS = int(os.environ.get("JOB_WORK_MS", "1")) / 1000


class NeutralJob(Job):
    """Sleeps for JOB_WORK_MS."""

    enqueued_at: float
    padding: str

    def run(self, queue: Queue) -> None:
        started_after = time.time() - self.enqueued_at
        time.sleep(SECONDS)
        ended_after = time.time() - self.enqueued_at
        os.write(int(os.environ[PIPE]), RECORD.pack(started_after, ended_after))
