"""Expiry: what nobody has started in time is failed, and counted as failed."""

from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Connection, Engine, text

from spoils.models import LIMITED
from spoils.queue.expiry import MOST, Expiry, expire
from tests.locks import held
from tests.rows import Rows

HOUR = Expiry("SampleJob", "sample", 3600.0, "Expired", "SampleJob was late.", "f00d")


def late(rows: Rows, **columns: Any) -> UUID:
    return rows.task(due_in=-3601, **columns)


@pytest.mark.parametrize("priority", [-2, -2 - LIMITED], ids=["lowest", "under limits"])
def test_what_was_not_started_in_time_is_failed_with_a_sentence(
    connection: Connection, rows: Rows, priority: int
) -> None:
    task_id = late(rows, priority=priority)
    in_time = rows.task(due_in=-3500)
    assert expire(connection, [HOUR]) == 1
    row = rows.one(task_id)
    assert (row.state, row.error_message, row.retries) == ("failed", "Expired: SampleJob was late.", 0)
    assert rows.state(in_time) == "new"
    assert expire(connection, [HOUR]) == 0


def test_it_is_counted_as_failed_and_grouped_with_those_that_a_worker_failed(
    connection: Connection, rows: Rows
) -> None:
    task_id = late(rows)
    expire(connection, [HOUR])
    assert rows.all("SELECT task_type, outcome, count FROM spoils_minutes") == [("sample", "failed", 1)]
    assert rows.all("SELECT task_id, outcome, error_class, message, fingerprint FROM spoils_attempts") == [
        (task_id, "failed", "Expired", "SampleJob was late.", "f00d")
    ]


@pytest.mark.parametrize("state", ["retried", "in_progress", "finished", "failed"])
def test_only_what_is_new_expires(connection: Connection, rows: Rows, state: str) -> None:
    task_id = late(rows, state=state)
    assert expire(connection, [HOUR]) == 0
    assert rows.state(task_id) == state


def test_what_was_claimed_and_never_started_expires_and_what_was_started_does_not(
    connection: Connection, rows: Rows
) -> None:
    unstarted, started = late(rows, attempts=1), late(rows, attempts=1)
    connection.execute(
        text(
            "INSERT INTO spoils_attempts (task_id, attempt, task_type, outcome, ended_at) "
            "VALUES (:id, 1, 'sample', 'released', now())"
        ),
        {"id": started},
    )
    assert expire(connection, [HOUR]) == 1
    assert (rows.state(unstarted), rows.state(started)) == ("failed", "new")


def test_each_class_has_its_own_time(connection: Connection, rows: Rows) -> None:
    other = late(rows, metadata={"type": "OtherJob"})
    late(rows)
    assert expire(connection, [HOUR, HOUR._replace(kind="OtherJob", seconds=7200.0)]) == 1
    assert rows.state(other) == "new"


def test_a_call_fails_the_oldest_of_a_class_and_no_more_than_its_limit(
    connection: Connection, rows: Rows
) -> None:
    youngest = late(rows)
    connection.execute(
        text(
            "INSERT INTO fang_tasks (metadata, task_type, scheduled_at) "
            """SELECT '{"type": "SampleJob"}', 'sample', now() - interval '2 h' FROM generate_series(1, :most)"""
        ),
        {"most": MOST},
    )
    assert expire(connection, [HOUR]) == MOST
    assert rows.state(youngest) == "new"
    assert expire(connection, [HOUR]) == 1


def test_one_that_is_being_claimed_is_left(engine: Engine, connection: Connection, rows: Rows) -> None:
    late(rows)
    with held(engine) as other:
        other.execute(text("SELECT FROM fang_tasks FOR UPDATE"))
        assert expire(connection, [HOUR]) == 0
        other.commit()
    assert expire(connection, [HOUR]) == 1
