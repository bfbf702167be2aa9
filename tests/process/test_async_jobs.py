"""Async jobs in real worker processes."""

import re

from sqlalchemy import Connection

from tests.async_jobs import AsyncWaitJob
from tests.faults.workers import enqueue_all
from tests.programs import JOBS, worker
from tests.rows import Rows
from tests.support import eventually

ASYNC = {"SPOILS_JOBS": f"{JOBS},tests.async_jobs", "LOG_LEVEL": "WARNING"}


def test_hundreds_of_async_jobs_wait_at_once_in_one_process(
    database_url: str, connection: Connection, rows: Rows
) -> None:
    enqueue_all(connection, [AsyncWaitJob(seconds=1, number=number) for number in range(500)])
    with worker(database_url, **{**ASYNC, "LOG_LEVEL": "INFO"}, WORKER_ASYNC_JOBS="250") as program:
        finished = "SELECT count(*) FROM fang_tasks WHERE task_type = 'async_wait' AND state = 'finished'"
        eventually(lambda: rows.value(finished) == 500, 30)
        at_once = [int(number) for number in re.findall(r"(\d+) wait", program.output)]
        assert 200 <= max(at_once) <= 250
        program.stop()
