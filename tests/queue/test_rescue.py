"""Rescue: a dead worker's tasks go back once, its connections are cut, and only solitude condemns."""

from uuid import UUID, uuid4

import pytest
from sqlalchemy import Connection, Engine, text

from spoils.db.engine import make_engine
from spoils.queue import presence
from spoils.queue.release import release_strays
from spoils.queue.rescue import CONDEMNED, Rescue, rescue, rescue_foreign, rescue_orphans
from tests.locks import at_once
from tests.queue.hands import moment, take, take_suspect
from tests.rows import Rows


def beat_of(rows: Rows, worker_id: UUID) -> str:
    return str(rows.value("SELECT beat_at::text FROM spoils_workers WHERE id = :id", id=worker_id))


def rescued(rows: Rows, worker_id: UUID) -> Rescue:
    return rescue(rows.connection, worker_id=worker_id, beat=beat_of(rows, worker_id))


@pytest.mark.parametrize(("retries", "state"), [(0, "new"), (-1, "new"), (2, "retried")])
def test_what_a_dead_worker_held_goes_back_due_now_and_counted_as_a_crash(
    connection: Connection, rows: Rows, retries: int, state: str
) -> None:
    dead = rows.worker(silent_for=60)
    task_id = rows.task(retries=retries, error_message="before", due_in=-100)
    (claim,) = take(connection, dead)
    assert rescued(rows, dead) == Rescue(True, 1)
    row = rows.one(task_id)
    assert (row.state, row.retries, row.crashes, row.attempts) == (state, retries, 1, 1)
    assert (row.claimed_by, row.claimed_at, row.error_message) == (None, None, "before")
    assert row.scheduled_at > moment(claim.claimed_at)
    assert rows.all(
        "SELECT outcome, attempt, worker_id, release, error_class, claimed_at FROM spoils_attempts"
    ) == [("crashed", 1, dead, "dev", "Crashed", moment(claim.claimed_at))]
    assert rows.all("SELECT outcome, count FROM spoils_minutes") == [("crashed", 1)]
    assert rows.all("SELECT ended_how, running, ended_at IS NOT NULL FROM spoils_workers") == [
        ("killed", 0, True)
    ]


def test_a_worker_that_has_beaten_since_is_left_alone(connection: Connection, rows: Rows) -> None:
    alive = rows.worker(silent_for=60)
    task_id = rows.task()
    take(connection, alive)
    seen = beat_of(rows, alive)
    connection.execute(text("UPDATE spoils_workers SET beat_at = now()"))
    assert rescue(connection, worker_id=alive, beat=seen) == Rescue(False, 0)
    assert rows.one(task_id).claimed_by == alive
    assert rows.value("SELECT ended_at FROM spoils_workers") is None


def test_what_other_workers_hold_and_what_it_has_settled_is_left_alone(
    connection: Connection, rows: Rows
) -> None:
    dead, other = rows.worker(), rows.worker()
    ended = rows.task(state="finished", claimed_by=dead)
    waiting = rows.task(due_in=60)
    theirs = rows.task(state="in_progress", claimed_by=other)
    before = [rows.one(task_id) for task_id in (ended, waiting, theirs)]
    assert rescued(rows, dead) == Rescue(True, 0)
    assert [rows.one(task_id) for task_id in (ended, waiting, theirs)] == before


def test_twenty_rescuers_at_once_rescue_once(engine: Engine, connection: Connection, rows: Rows) -> None:
    dead = rows.worker(silent_for=60)
    for _ in range(10):
        rows.task()
    take(connection, dead, 10)
    beat = beat_of(rows, dead)

    def rescuer(_: int) -> Rescue:
        with engine.connect() as own:
            return rescue(own, worker_id=dead, beat=beat)

    assert sorted(at_once(20, rescuer), key=lambda one: one.ended) == [Rescue(False, 0)] * 19 + [
        Rescue(True, 10)
    ]
    assert rows.all("SELECT DISTINCT state::text, crashes FROM fang_tasks") == [("new", 1)]
    assert rows.value("SELECT count(*) FROM spoils_attempts") == 10


def test_the_third_death_alone_condemns(connection: Connection, rows: Rows) -> None:
    task_id = rows.task(due_in=-5)
    for death in (1, 2, 3):
        dead = rows.worker()
        claims = take_suspect(connection, dead) if death == 3 else take(connection, dead)
        assert [claim.id for claim in claims] == [task_id]
        assert rescued(rows, dead).tasks == 1
        assert rows.one(task_id).crashes == death
    row = rows.one(task_id)
    assert (row.state, row.error_message, row.claimed_by) == ("failed", CONDEMNED, dead)
    assert row.scheduled_at < row.claimed_at
    assert rows.value("SELECT count(*) FROM spoils_attempts WHERE outcome = 'crashed'") == 3


def test_deaths_in_company_never_condemn(connection: Connection, rows: Rows) -> None:
    ids = [rows.task(), rows.task()]
    for _ in range(5):
        dead = rows.worker()
        connection.execute(
            text("UPDATE fang_tasks SET state = 'in_progress', claimed_by = :id"), {"id": dead}
        )
        assert rescued(rows, dead).tasks == 2
    assert [(rows.one(task_id).state, rows.one(task_id).crashes) for task_id in ids] == [("new", 2)] * 2


def test_the_dead_worker_s_open_transaction_is_ended_first(
    database_url: str, connection: Connection, rows: Rows
) -> None:
    dead = rows.worker()
    task_id = rows.task()
    take(connection, dead)
    frozen = make_engine(database_url, connections=1, application_name=f"spoils:{dead}")
    other = make_engine(database_url, connections=1, application_name=f"spoils:{uuid4()}")
    with frozen.connect() as open_one, other.connect() as bystander:
        open_one.execute(text("UPDATE fang_tasks SET error_message = 'frozen'"))
        bystander.execute(text("SELECT 1"))
        assert rescued(rows, dead) == Rescue(True, 1)
        assert rows.one(task_id).error_message is None
        assert bystander.execute(text("SELECT 1")).scalar_one() == 1
        open_one.invalidate()
    frozen.dispose()
    other.dispose()


def test_what_was_claimed_in_the_very_moment_of_the_rescue_goes_back_as_an_orphan(
    connection: Connection, rows: Rows
) -> None:
    gone, alive = rows.worker(ended=True), rows.worker()
    orphan = rows.task(state="in_progress", claimed_by=gone, retries=1)
    ownerless = rows.task(state="in_progress", claimed_by=uuid4())
    theirs = rows.task(state="in_progress", claimed_by=alive)
    foreign = rows.task(state="in_progress")
    ended = rows.task(state="failed", claimed_by=gone)
    assert set(rescue_orphans(connection)) == {orphan, ownerless}
    assert (rows.state(orphan), rows.state(ownerless)) == ("retried", "new")
    assert (rows.state(theirs), rows.state(foreign), rows.state(ended)) == (
        "in_progress",
        "in_progress",
        "failed",
    )
    assert rows.one(orphan).claimed_by is None
    assert rescue_orphans(connection) == []


def test_a_foreign_worker_s_tasks_go_back_only_after_their_time(connection: Connection, rows: Rows) -> None:
    ours = rows.task(state="in_progress", claimed_by=rows.worker())
    old, young = rows.task(state="in_progress"), rows.task(state="in_progress")
    connection.execute(
        text("UPDATE fang_tasks SET updated_at = now() - interval '100 s' WHERE id <> :id"), {"id": young}
    )
    assert rescue_foreign(connection, timeout_seconds=101) == []
    assert rescue_foreign(connection, timeout_seconds=99.5) == [old]
    assert [rows.state(task_id) for task_id in (old, young, ours)] == ["new", "in_progress", "in_progress"]


@pytest.mark.parametrize(("retries", "state"), [(0, "new"), (3, "retried")])
def test_what_a_worker_holds_in_the_table_but_not_in_its_hands_goes_back_uncounted(
    connection: Connection, rows: Rows, retries: int, state: str
) -> None:
    me, other = rows.worker(), rows.worker()
    for _ in range(3):
        rows.task(retries=retries)
    stray, kept = (claim.id for claim in take(connection, me, 2))
    (theirs,) = take(connection, other)
    assert release_strays(connection, worker_id=me, held=[str(kept), str(uuid4())]) == [stray]
    row = rows.one(stray)
    assert (row.state, row.retries, row.crashes, row.claimed_by, row.claimed_at) == (
        state,
        retries,
        0,
        None,
        None,
    )
    assert rows.one(kept).claimed_by == me
    assert rows.one(theirs.id).claimed_by == other
    assert release_strays(connection, worker_id=me, held=[]) == [kept]
    assert rows.value("SELECT count(*) FROM spoils_attempts") == 0


def test_a_worker_that_left_cleanly_is_not_rescued(connection: Connection, rows: Rows) -> None:
    gone = rows.worker()
    presence.leave(connection, gone)
    assert rescued(rows, gone) == Rescue(False, 0)
    assert rows.all("SELECT ended_how FROM spoils_workers") == [("clean",)]
