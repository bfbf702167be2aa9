"""The beat: one statement that says we live, and tells what concerns us."""

from collections.abc import Iterator, Sequence
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError

from spoils.db.engine import make_engine
from spoils.queue import worker_rows
from spoils.queue.worker_rows import HeartbeatResult
from tests.queue.hands import KINDS, TYPES
from tests.rows import Rows
from tests.support import eventually


def beat(
    connection: Connection,
    worker_id: UUID,
    *,
    draining: bool = False,
    running: int = 0,
    performing: Sequence[UUID] = (),
) -> HeartbeatResult:
    return worker_rows.heartbeat(
        connection,
        worker_id=worker_id,
        rss=1234,
        running=running,
        performing=performing,
        draining=draining,
        task_types=TYPES,
        kinds=KINDS,
    )


@pytest.fixture(params=[False, True], ids=["any session", "one that plans once"])
def engine(database_url: str, request: pytest.FixtureRequest) -> Iterator[Engine]:
    made = make_engine(
        database_url, connections=30, application_name="tests", autocommit=True, by_index=request.param
    )
    yield made
    made.dispose()


@pytest.fixture
def me(rows: Rows) -> UUID:
    return rows.worker(silent_for=100)


def test_a_worker_enters_beats_and_leaves(connection: Connection, rows: Rows) -> None:
    worker_id = uuid4()
    row = {
        "host": "h",
        "pid": 7,
        "release": "v1",
        "task_types": ["a", "b"],
        "threads": 3,
        "lock_key": 9,
        "rss": 5,
    }
    worker_rows.enter(connection, {"id": worker_id, **row})
    first = rows.value("SELECT beat_at FROM spoils_workers")
    assert beat(connection, worker_id, draining=True, running=2).alive
    columns = "beat_at > CAST(:first AS timestamptz), rss, running, draining, task_types, ended_at"
    assert rows.all(f"SELECT {columns} FROM spoils_workers", first=first) == [
        (True, 1234, 2, True, ["a", "b"], None)
    ]
    worker_rows.leave(connection, worker_id)
    assert rows.all("SELECT ended_how, running, ended_at > beat_at FROM spoils_workers") == [
        ("clean", 0, True)
    ]


def test_a_beat_says_that_the_row_has_ended_and_changes_nothing(connection: Connection, rows: Rows) -> None:
    ended = rows.worker(ended=True)
    before = rows.all("SELECT * FROM spoils_workers")
    assert beat(connection, ended) == HeartbeatResult(alive=False)
    assert beat(connection, uuid4()) == HeartbeatResult(alive=False)
    worker_rows.leave(connection, ended)
    assert rows.all("SELECT * FROM spoils_workers") == before


def test_a_quiet_table_has_a_quiet_pulse(connection: Connection, me: UUID) -> None:
    result = beat(connection, me)
    assert result == HeartbeatResult(alive=True, server=result.server)


def test_the_pulse_names_the_start_of_the_server_alike_whatever_the_session_s_time_zone(
    connection: Connection, rows: Rows, me: UUID
) -> None:
    first = beat(connection, me).server
    assert float(first) == rows.value("SELECT extract(epoch FROM pg_postmaster_start_time())::float")
    connection.execute(text("SET timezone = 'Asia/Tokyo'"))
    assert beat(connection, me).server == first
    connection.invalidate()


def test_the_pulse_tells_when_the_next_of_our_tasks_falls_due(
    connection: Connection, rows: Rows, me: UUID
) -> None:
    rows.task(due_in=-1)
    rows.task(due_in=0.2, task_type="elsewhere")
    rows.task(due_in=0.2, task_type="common", metadata={"type": "RustTask"})
    rows.task(due_in=0.2, state="finished")
    rows.task(due_in=30)
    assert beat(connection, me).next_due_seconds is None
    rows.task(due_in=2.4, state="retried", priority=-2)
    seconds = beat(connection, me).next_due_seconds
    assert seconds is not None
    assert 1 < seconds <= 2.4
    rows.task(due_in=1, task_type="common")
    seconds = beat(connection, me).next_due_seconds
    assert seconds is not None
    assert seconds <= 1


@pytest.mark.parametrize(
    ("columns", "due"),
    [
        ({}, True),
        ({"state": "retried"}, True),
        ({"task_type": "common"}, True),
        ({"due_in": 5}, False),
        ({"crashes": 1}, False),
        ({"state": "in_progress"}, False),
        ({"task_type": "elsewhere"}, False),
        ({"task_type": "common", "metadata": {"type": "RustTask"}}, False),
    ],
)
def test_the_pulse_tells_of_a_suspect_that_is_due_and_ours(
    *, connection: Connection, rows: Rows, me: UUID, columns: dict[str, object], due: bool
) -> None:
    rows.task(**{"crashes": 2, **columns})  # type: ignore[arg-type]
    assert beat(connection, me).suspect_due is due


def test_the_heartbeat_learns_which_other_workers_claim_the_suspect(
    connection: Connection, rows: Rows, me: UUID
) -> None:
    task_type = TYPES[0]
    able, elsewhere, draining = rows.worker(), rows.worker(), rows.worker()
    knows = rows.worker(job_classes={"SampleJob": "1"})
    rows.worker(job_classes={"OtherJob": "1"})
    for worker_id, types in ((able, ["x", task_type]), (elsewhere, ["x"]), (draining, [task_type])):
        connection.execute(
            text("UPDATE spoils_workers SET task_types = :types, draining = :draining WHERE id = :id"),
            {"id": worker_id, "types": types, "draining": worker_id == draining},
        )

    def claiming() -> set[UUID]:
        return {one.id for one in beat(connection, me).others if one.claims_suspect}

    assert claiming() == set()
    rows.task(crashes=2, task_type=task_type)
    assert claiming() == {able, knows}


def test_another_schema_of_a_class_is_that_of_another_worker_that_has_not_ended(
    connection: Connection, rows: Rows
) -> None:
    me = rows.worker(job_classes={"SampleJob": "1"})

    def found() -> tuple[bool, bool]:
        other = worker_rows.has_other_schema(connection, worker_id=me, job="SampleJob", digest="1")
        return beat(connection, me).others_differ, other

    assert not worker_rows.has_other_schema(connection, worker_id=me, job="SampleJob", digest="2")
    rows.worker()
    rows.worker(job_classes={"SampleJob": "2"}, ended=True)
    rows.worker(job_classes={"SampleJob": "1"})
    assert found() == (False, False)
    rows.worker(job_classes={"OtherJob": "2", "SampleJob": "1"})
    assert found() == (True, False)
    rows.worker(job_classes={"SampleJob": "2"})
    assert found() == (True, True)


def test_the_pulse_tells_which_of_our_running_tasks_are_to_stop(
    connection: Connection, rows: Rows, me: UUID
) -> None:
    asked = {rows.task(state="in_progress", claimed_by=me) for _ in range(2)}
    ended = rows.task(state="failed", claimed_by=me)
    theirs = rows.task(state="in_progress", claimed_by=rows.worker())
    connection.execute(text("UPDATE fang_tasks SET cancel_requested_at = now()"))
    unasked = rows.task(state="in_progress", claimed_by=me)
    assert beat(connection, me, performing=[*asked, ended, theirs, unasked]).cancelled == asked
    assert beat(connection, me).cancelled == set()


def test_the_pulse_tells_of_each_neighbour_that_lives_and_whether_it_holds_its_lock(
    connection: Connection, rows: Rows, me: UUID
) -> None:
    locked = {rows.worker(locked=True) for _ in range(10)}  # keys of either sign
    free = {rows.worker() for _ in range(3)}
    pooled = rows.worker()
    connection.execute(text("UPDATE spoils_workers SET lock_key = NULL WHERE id = :id"), {"id": pooled})
    rows.worker(ended=True)
    others = {one.id: one for one in beat(connection, me).others}
    assert {id_ for id_, one in others.items() if one.holds_lock is True} == locked
    assert {id_ for id_, one in others.items() if one.holds_lock is False} == free
    assert [id_ for id_, one in others.items() if one.holds_lock is None] == [pooled]


def test_a_neighbour_s_beat_changes_when_it_beats_and_only_then(
    connection: Connection, rows: Rows, me: UUID
) -> None:
    other = rows.worker()
    (first,), (second,) = beat(connection, me).others, beat(connection, me).others
    assert first == second
    beat(connection, other)
    (third,) = beat(connection, me).others
    assert third.beat != first.beat


def test_a_lock_is_held_by_one_session_only(direct: Engine, rows: Rows) -> None:
    worker_id = rows.worker()
    with direct.connect() as one, direct.connect() as other:
        assert worker_rows.take_lock(one, worker_id)
        assert not worker_rows.take_lock(other, worker_id)
        assert worker_rows.take_lock(other, uuid4())
        other.invalidate()


def test_eviction_ends_the_session_that_holds_this_lock_and_no_other(database_url: str) -> None:
    mine, other = uuid4(), uuid4()
    # The same number as two halves is another lock.
    number = worker_rows.lock_key(mine) & (2**64 - 1)
    halves = {"high": _signed(number >> 32), "low": _signed(number & 0xFFFFFFFF)}
    # Without a pooler in any case: a lock is a session's, and there it would be somebody else's a moment later.
    direct = make_engine(database_url, connections=4, application_name="tests", autocommit=True)
    with (
        direct.connect() as connection,
        direct.connect() as holder,
        direct.connect() as bystander,
        direct.connect() as namesake,
    ):
        assert worker_rows.take_lock(holder, mine)
        assert worker_rows.take_lock(bystander, other)
        namesake.execute(text("SELECT pg_advisory_lock(CAST(:high AS int), CAST(:low AS int))"), halves)
        assert not worker_rows.take_lock(connection, mine)
        worker_rows.evict(connection, mine)
        eventually(lambda: worker_rows.take_lock(connection, mine))
        for alive in (bystander, namesake):
            assert alive.scalar(text("SELECT 1")) == 1
        with pytest.raises(DBAPIError):
            holder.execute(text("SELECT 1"))
        holder.invalidate()
    direct.dispose()


def _signed(half: int) -> int:
    return half - 2**32 if half >= 2**31 else half
