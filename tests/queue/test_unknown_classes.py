"""Tasks are failed once no worker has known their class for a day, and no sooner."""

from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from spoils.models import PauseKind
from spoils.queue import pauses
from spoils.queue.unknown_classes import MOST, fail_unknown
from tests.rows import Rows

DAY = 24 * 3600.0
GONE = {"type": "GoneJob"}
KNOWN = {"SampleJob": "1"}


@pytest.fixture
def me(rows: Rows) -> UUID:
    return rows.worker(job_classes=KNOWN, started_ago=700)


def fail(rows: Rows, me: UUID) -> int:
    return fail_unknown(rows.connection, worker_id=me, task_types=["sample"])


def test_a_task_of_a_class_that_no_worker_knows_is_failed_after_a_day(rows: Rows, me: UUID) -> None:
    gone = rows.task(metadata=GONE, due_in=-DAY - 60)
    retried = rows.task(metadata=GONE, due_in=-DAY - 60, state="retried", retries=2, priority=-2)
    others = [
        rows.task(due_in=-DAY - 60),
        rows.task(metadata=GONE, due_in=-DAY + 60),
        rows.task(metadata=GONE, due_in=-DAY - 60, task_type="common"),
        rows.task(metadata={}, due_in=-DAY - 60),
        rows.task(metadata=GONE, due_in=-DAY - 60, state="in_progress"),
    ]
    before = [rows.state(task_id) for task_id in others]
    assert fail(rows, me) == 2
    for task_id in (gone, retried):
        assert rows.state(task_id) == "failed"
        assert rows.one(task_id).error_message == 'No worker has known the job class "GoneJob" for a day.'
    assert [rows.state(task_id) for task_id in others] == before
    assert fail(rows, me) == 0


@pytest.mark.parametrize(
    ("other", "failed"),
    [
        ({"job_classes": {"GoneJob": "1"}}, False),
        ({"job_classes": {"GoneJob": "1"}, "ended": True}, False),
        ({"job_classes": None}, False),  # of a release that publishes nothing
        ({"job_classes": None, "ended": True}, False),
        ({"job_classes": {"AnotherJob": "1"}}, True),
    ],
)
def test_what_a_worker_has_known_within_the_day_waits(
    rows: Rows, me: UUID, other: dict[str, Any], failed: bool
) -> None:
    rows.task(metadata=GONE, due_in=-DAY - 60)
    worker_id = rows.worker(**other)
    assert fail(rows, me) == int(failed)
    rows.connection.execute(
        text("UPDATE spoils_workers SET ended_at = now() - interval '25 h' WHERE id = :id"), {"id": worker_id}
    )
    assert fail(rows, me) == int(not failed)


def test_a_worker_that_has_just_started_fails_nothing(rows: Rows) -> None:
    task_id = rows.task(metadata=GONE, due_in=-2 * DAY)
    for young in (
        rows.worker(job_classes=KNOWN),
        rows.worker(job_classes=KNOWN, started_ago=700, ended=True),
    ):
        assert fail(rows, young) == 0
    assert rows.state(task_id) == "new"


def test_tasks_of_a_paused_type_wait(rows: Rows, me: UUID) -> None:
    rows.task(metadata=GONE, due_in=-DAY - 60)
    pauses.pause(rows.connection, PauseKind.TASK_TYPE, "sample", by="admin")
    assert fail(rows, me) == 0
    pauses.resume(rows.connection, PauseKind.TASK_TYPE, "sample")
    assert fail(rows, me) == 1


def test_one_call_reads_a_limited_number_of_tasks(rows: Rows, me: UUID) -> None:
    put = text(
        "INSERT INTO fang_tasks (metadata, task_type, scheduled_at) SELECT jsonb_build_object('type', "
        "CAST(:job AS text)), 'sample', now() - make_interval(hours => :ago) FROM generate_series(1, :number)"
    )
    rows.connection.execute(put, {"job": "GoneJob", "ago": 50, "number": MOST + 5})
    assert fail(rows, me) == MOST
    assert fail(rows, me) == 5
