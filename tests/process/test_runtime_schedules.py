"""A schedule that is made while a worker runs reaches it at once, long before its next look."""

import pytest
from sqlalchemy import Connection

from spoils.job.cron import Cron
from spoils.jobs.send_notification import SendNotificationJob
from spoils.queue import schedules
from spoils.worker.scheduler import LOOK_SECONDS
from tests.programs import worker
from tests.rows import Rows
from tests.support import eventually

pytestmark = pytest.mark.process

NOTE = {"user_id": 1, "notification_type": "email", "message": "hello"}


def test_a_worker_runs_a_schedule_that_is_made_while_it_sleeps(
    database_url: str, connection: Connection, rows: Rows
) -> None:
    with worker(database_url, SPOILS_JOBS="spoils.jobs", SPOILS_NOTIFY_SECONDS="0") as program:

        def looked() -> None:
            assert rows.value("SELECT count(*) FROM spoils_schedules WHERE job = 'CleanupJob'") == 1

        eventually(looked, 20)
        job, every_second = SendNotificationJob(**NOTE), Cron("* * * * * *")
        made = schedules.create(
            connection, name="each-second", job=job, payload=NOTE, cron=every_second, who="ann"
        )

        def ran() -> None:
            finished = (
                "SELECT count(*) FROM fang_tasks WHERE state = 'finished' AND task_type = 'send_notification'"
            )
            assert rows.value(finished) >= 2

        eventually(ran, LOOK_SECONDS / 2)
        schedules.remove(connection, made.id, who="ann")
        enqueued = rows.value("SELECT count(*) FROM fang_tasks")
        program.stop()
    assert rows.value("SELECT count(*) FROM fang_tasks") == enqueued
