"""The retention of classes, as the nightly and the hourly job of the queue keep it."""

from collections.abc import Iterator
from datetime import timedelta
from uuid import UUID

import pytest
from sqlalchemy import text

from spoils import Client, Job, Queue
from spoils.builtin.cleanup import CleanupJob
from spoils.builtin.retention import RetentionJob
from spoils.job.registry import registry
from spoils.testing import perform
from tests.classes import throw_away_classes
from tests.rows import Rows


@pytest.fixture(autouse=True)
def classes() -> Iterator[None]:
    with throw_away_classes():

        class BriefJob(Job):
            """Is kept for hours."""

            keep = timedelta(hours=6)
            keep_failed = timedelta(days=90)

            def run(self, queue: Queue) -> None: ...

        yield


@pytest.fixture
def client(database_url: str) -> Iterator[Client]:
    made = Client(database_url)
    yield made
    made.close()


def old(rows: Rows, state: str, hours: float, kind: str) -> UUID:
    task_id = rows.task(state=state, metadata={"type": kind})
    rows.connection.execute(
        text("UPDATE fang_tasks SET updated_at = now() - make_interval(secs => :age) WHERE id = :id"),
        {"age": hours * 3600, "id": task_id},
    )
    return task_id


def left(rows: Rows) -> set[UUID]:
    return {task_id for (task_id,) in rows.all("SELECT id FROM fang_tasks")}


def test_the_hourly_job_deletes_what_a_class_keeps_for_less_and_its_steps_and_nothing_else(
    client: Client, rows: Rows
) -> None:
    gone = old(rows, "finished", 6.1, "BriefJob")
    kept = {
        old(rows, "finished", 5.9, "BriefJob"),
        old(rows, "failed", 24 * 31, "BriefJob"),
        old(rows, "finished", 24 * 400, "SampleJob"),
    }
    rows.connection.execute(
        text("INSERT INTO spoils_steps SELECT id, 'one', 1, '1', 1, now() FROM fang_tasks")
    )
    assert perform(RetentionJob(), client=client).outcome == "finished"
    assert left(rows) == kept
    assert {task_id for (task_id,) in rows.all("SELECT task_id FROM spoils_steps")} == kept
    assert gone not in kept


def test_the_nightly_cleanup_keeps_what_a_class_keeps_for_longer(client: Client, rows: Rows) -> None:
    kept = {old(rows, "failed", 24 * 89, "BriefJob"), old(rows, "failed", 24 * 29, "SampleJob")}
    for hours, kind in ((24 * 91, "BriefJob"), (24 * 31, "SampleJob")):
        old(rows, "failed", hours, kind)
    assert perform(CleanupJob(), client=client).outcome == "finished"
    assert left(rows) == kept


def test_it_has_a_schedule_only_where_a_class_says_how_long_it_is_kept() -> None:
    assert RetentionJob.cron == "30 * * * *"
    del registry._by_name["BriefJob"]
    assert RetentionJob.cron is None
