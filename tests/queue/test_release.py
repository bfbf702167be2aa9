"""Giving back what was claimed and never started: the worker's own, by the attempt that it was told, and no more."""

from uuid import UUID, uuid4

import pytest
from sqlalchemy import Connection, Engine, text

from spoils.queue.release import release, release_strays
from tests.queue.hands import heard
from tests.rows import Rows


@pytest.fixture
def me(rows: Rows) -> UUID:
    return rows.worker()


def running(rows: Rows, worker_id: UUID, attempts: int = 1) -> UUID:
    return rows.task(state="in_progress", attempts=attempts, claimed_by=worker_id, retries=2)


def test_a_claim_of_ones_own_goes_back_uncounted(connection: Connection, rows: Rows, me: UUID) -> None:
    task_id = running(rows, me, attempts=3)
    assert release(connection, worker_id=me, tokens=[(str(task_id), 3)]) == [task_id]
    row = rows.one(task_id)
    assert (row.state, row.retries, row.claimed_by, row.claimed_at) == ("retried", 2, None, None)


def test_what_is_no_longer_ones_own_stays(connection: Connection, rows: Rows, me: UUID) -> None:
    other = rows.worker()
    theirs, later, ended = running(rows, other), running(rows, me, attempts=2), rows.task(state="finished")
    tokens = [(str(task_id), 1) for task_id in (theirs, later, ended, uuid4())]
    assert release(connection, worker_id=me, tokens=tokens) == []
    assert [rows.state(task_id) for task_id in (theirs, later, ended)] == [
        "in_progress",
        "in_progress",
        "finished",
    ]


def test_strays_are_what_the_worker_does_not_know_of(connection: Connection, rows: Rows, me: UUID) -> None:
    held, stray, theirs = running(rows, me), running(rows, me), running(rows, rows.worker())
    assert release_strays(connection, worker_id=me, held=[str(held)]) == [stray]
    assert [rows.state(task_id) for task_id in (held, theirs)] == ["in_progress", "in_progress"]


def test_idle_workers_hear_of_what_was_given_back_and_of_nothing_else(
    direct: Engine, connection: Connection, rows: Rows, me: UUID
) -> None:
    with direct.connect() as listening:
        listening.execute(text("LISTEN spoils_tasks"))
        assert release(connection, worker_id=me, tokens=[(str(uuid4()), 1)]) == []
        connection.execute(text("SELECT pg_notify('spoils_tasks', 'nothing so far')"))
        assert heard(listening, 1) == ["nothing so far"]
        task_id = running(rows, me)
        release(connection, worker_id=me, tokens=[(str(task_id), 1)])
        assert "0" in heard(listening, 2)
