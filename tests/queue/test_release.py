"""Giving back what was claimed and never started: the worker's own, by the attempt that it was told, and no more."""

from uuid import UUID, uuid4

from sqlalchemy import Connection, Engine, text

from spoils.queue.release import release, release_strays
from tests.locks import held
from tests.queue.hands import heard
from tests.rows import Rows

CLAIMED_AT = "2026-01-01 00:00:00+00"


def running(rows: Rows, worker_id: UUID, attempts: int = 1) -> UUID:
    return rows.task(
        state="in_progress",
        attempts=attempts,
        claimed_by=worker_id,
        claimed_at=CLAIMED_AT,
        retries=2,
        due_in=-60,
    )


def test_a_claim_of_ones_own_goes_back_uncounted(connection: Connection, rows: Rows, me: UUID) -> None:
    task_id = running(rows, me, attempts=3)
    before = rows.one(task_id)
    assert release(connection, worker_id=me, tokens=[(str(task_id), 3, CLAIMED_AT)]) == [task_id]
    row = rows.one(task_id)
    assert row.scheduled_at == before.scheduled_at
    assert (row.state, row.retries, row.claimed_by, row.claimed_at) == ("retried", 2, None, None)


def test_what_is_no_longer_ones_own_stays(connection: Connection, rows: Rows, me: UUID) -> None:
    other = rows.worker()
    theirs, later, ended = running(rows, other), running(rows, me, attempts=2), rows.task(state="finished")
    tokens = [(str(task_id), 1, CLAIMED_AT) for task_id in (theirs, later, ended, uuid4())]
    assert release(connection, worker_id=me, tokens=tokens) == []
    assert [rows.state(task_id) for task_id in (theirs, later, ended)] == [
        "in_progress",
        "in_progress",
        "finished",
    ]


def test_idle_workers_hear_of_what_was_given_back_and_of_nothing_else(
    direct: Engine, connection: Connection, rows: Rows, me: UUID
) -> None:
    with direct.connect() as listening:
        listening.execute(text("LISTEN spoils_tasks"))
        assert release(connection, worker_id=me, tokens=[(str(uuid4()), 1, CLAIMED_AT)]) == []
        connection.execute(text("SELECT pg_notify('spoils_tasks', 'nothing so far')"))
        assert heard(listening, 1) == ["nothing so far"]
        task_id = running(rows, me)
        release(connection, worker_id=me, tokens=[(str(task_id), 1, CLAIMED_AT)])
        assert -70 < float(heard(listening, 2)[1]) < -60


def test_a_locked_row_stays_and_its_neighbours_go_back(
    engine: Engine, connection: Connection, rows: Rows, me: UUID
) -> None:
    locked, free = running(rows, me), running(rows, me)
    tokens = [(str(task_id), 1, CLAIMED_AT) for task_id in (locked, free)]
    with held(engine) as other:
        other.execute(text("SELECT FROM fang_tasks WHERE id = :id FOR UPDATE"), {"id": locked})
        assert release(connection, worker_id=me, tokens=tokens) == [free]
        stray = running(rows, me)
        assert release_strays(connection, worker_id=me, held=[]) == ([stray], True)
    assert release_strays(connection, worker_id=me, held=[]) == ([locked], False)


def test_of_duplicates_that_go_back_together_one_keeps_the_hash(
    connection: Connection, rows: Rows, me: UUID, beside_rust: None
) -> None:
    for _ in range(2):
        rows.task(state="in_progress", claimed_by=me, uniq_hash="a" * 64)
    assert len(release_strays(connection, worker_id=me, held=[])[0]) == 2
    assert rows.all("SELECT state::text, count(uniq_hash) FROM fang_tasks GROUP BY 1") == [("new", 1)]
