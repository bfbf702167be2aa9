"""Rescue: a dead worker's tasks go back once, its connections are cut, and only solitude condemns."""

from collections.abc import Iterator
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Connection, Engine, text

from spoils.db.engine import make_engine
from spoils.queue import worker_rows
from spoils.queue.release import release_strays
from spoils.queue.rescue import CONDEMNED, Rescue, rescue, rescue_foreign, rescue_orphans, rescue_rest
from tests.locks import at_once, held, meanwhile
from tests.queue.hands import heard, moment, take, take_suspect
from tests.rows import Rows
from tests.support import eventually


def beat_of(rows: Rows, worker_id: UUID) -> str:
    return str(rows.value("SELECT beat_at::text FROM spoils_workers WHERE id = :id", id=worker_id))


def rescued(rows: Rows, worker_id: UUID) -> Rescue:
    return rescue(rows.connection, worker_id=worker_id, beat=beat_of(rows, worker_id))


@pytest.mark.parametrize(("retries", "state"), [(0, "new"), (-1, "new"), (2, "retried")])
def test_what_a_dead_worker_held_goes_back_to_its_place_and_counted_as_a_crash(
    connection: Connection, rows: Rows, retries: int, state: str
) -> None:
    dead = rows.worker(silent_for=60)
    task_id = rows.task(retries=retries, error_message="before", due_in=-100)
    before = rows.one(task_id)
    (claim,) = take(connection, dead)
    assert rescued(rows, dead) == Rescue(True, 1)
    row = rows.one(task_id)
    assert (row.state, row.retries, row.crashes, row.attempts) == (state, retries, 1, 1)
    assert (row.claimed_by, row.claimed_at, row.error_message) == (None, None, "before")
    assert row.scheduled_at == before.scheduled_at
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
        done = rescued(rows, dead)
        assert (done.ended, done.tasks + done.left) == (True, 1)

        def given_back() -> None:
            # What its session holds locked comes free once it has ended.
            assert rescue_rest(connection, worker_id=dead).left == 0
            assert (rows.state(task_id), rows.one(task_id).crashes) == ("new", 1)

        eventually(given_back)
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
    assert release_strays(connection, worker_id=me, held=[str(kept), str(uuid4())]) == ([stray], False)
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
    assert release_strays(connection, worker_id=me, held=[]) == ([kept], False)
    assert rows.value("SELECT count(*) FROM spoils_attempts") == 0


def test_a_worker_that_left_cleanly_is_not_rescued(connection: Connection, rows: Rows) -> None:
    gone = rows.worker()
    worker_rows.leave(connection, gone)
    assert rescued(rows, gone) == Rescue(False, 0)
    assert rows.all("SELECT ended_how FROM spoils_workers") == [("clean",)]


def test_a_locked_task_of_a_dead_worker_is_left_and_its_others_go_back_at_once(
    engine: Engine, connection: Connection, rows: Rows
) -> None:
    dead = rows.worker(silent_for=60)
    locked, *free = [rows.task() for _ in range(4)]
    take(connection, dead, 4)
    with held(engine) as other:
        other.execute(text("SELECT FROM fang_tasks WHERE id = :id FOR UPDATE"), {"id": locked})
        assert rescued(rows, dead) == Rescue(True, 3, left=1)
        assert [rows.state(task_id) for task_id in free] == ["new"] * 3
        assert rescue_rest(connection, worker_id=dead) == Rescue(False, 0, left=1)
        assert rescue_orphans(connection) == []
    assert rescue_rest(connection, worker_id=dead) == Rescue(False, 1)
    assert (rows.state(locked), rows.one(locked).crashes) == ("new", 1)
    assert rows.value("SELECT count(*) FROM spoils_attempts") == 4


def test_what_was_locked_at_a_rescue_is_not_condemned_though_nothing_else_is_left(
    engine: Engine, connection: Connection, rows: Rows
) -> None:
    dead = rows.worker()
    suspect = rows.task(state="in_progress", claimed_by=dead, crashes=2)
    rows.task(state="in_progress", claimed_by=dead)
    with held(engine) as other:
        other.execute(text("SELECT FROM fang_tasks WHERE id = :id FOR UPDATE"), {"id": suspect})
        assert rescued(rows, dead) == Rescue(True, 1, left=1)
    assert rescue_rest(connection, worker_id=dead) == Rescue(False, 1)
    assert (rows.state(suspect), rows.one(suspect).crashes) == ("new", 2)


def test_a_worker_whose_row_is_locked_keeps_its_sessions_and_its_tasks(
    database_url: str, engine: Engine, connection: Connection, rows: Rows
) -> None:
    worker = rows.worker(silent_for=60)
    task_id = rows.task()
    take(connection, worker)
    session = make_engine(database_url, connections=1, application_name=f"spoils:{worker}")
    with session.connect() as its_own, held(engine) as operator:
        its_own.execute(text("SELECT 1"))
        operator.execute(text("SELECT FROM spoils_workers FOR UPDATE"))
        assert rescued(rows, worker) == Rescue(False, 0)
        assert its_own.execute(text("SELECT 1")).scalar_one() == 1
        assert rows.one(task_id).claimed_by == worker
    session.dispose()


@pytest.fixture
def humble(rows: Rows) -> Iterator[str]:
    """A role that may do anything with the tables, and end no session."""
    role = f"humble_{uuid4().hex}"
    for statement in (
        f"CREATE ROLE {role}",
        f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {role}",
        f"GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO {role}",
        "REVOKE EXECUTE ON FUNCTION pg_terminate_backend FROM PUBLIC",
    ):
        rows.connection.execute(text(statement))
    yield role
    rows.connection.execute(text("GRANT EXECUTE ON FUNCTION pg_terminate_backend TO PUBLIC"))
    rows.connection.execute(text(f"DROP OWNED BY {role}"))
    rows.connection.execute(text(f"DROP ROLE {role}"))


def test_a_rescue_that_may_not_end_sessions_gives_the_tasks_back_all_the_same(
    *, database_url: str, rows: Rows, humble: str, caplog: pytest.LogCaptureFixture
) -> None:
    dead = rows.worker(silent_for=60)
    task_id = rows.task()
    take(rows.connection, dead)
    beat = beat_of(rows, dead)
    theirs = make_engine(database_url, connections=1, application_name=f"spoils:{dead}")
    mine = make_engine(database_url, connections=1, application_name="tests", autocommit=True)
    with theirs.connect() as session, mine.connect() as rescuer:
        session.execute(text("SELECT 1"))
        rescuer.execute(text(f"SET ROLE {humble}"))
        assert rescue(rescuer, worker_id=dead, beat=beat) == Rescue(True, 1)
        rescuer.execute(text("RESET ROLE"))
        assert session.execute(text("SELECT 1")).scalar_one() == 1
    assert rows.state(task_id) == "new"
    (record,) = caplog.records
    assert record.message.startswith(
        "Failed to terminate the database sessions of a dead worker: permission denied"
    )
    theirs.dispose()
    mine.dispose()


def test_a_worker_that_may_not_end_its_former_session_goes_on_trying(
    database_url: str, rows: Rows, humble: str
) -> None:
    me = rows.worker(locked=True)
    mine = make_engine(database_url, connections=1, application_name="tests", autocommit=True)
    with mine.connect() as again:
        again.execute(text(f"SET ROLE {humble}"))
        worker_rows.evict(again, me)
        assert not worker_rows.take_lock(again, me)
        again.execute(text("RESET ROLE"))
    mine.dispose()


@pytest.mark.parametrize(
    "columns",
    [{"crashes": 32767}, {"claimed_at": "-infinity"}, {"claimed_at": "infinity"}, {"retries": 2**31 - 1}],
    ids=str,
)
def test_an_odd_row_does_not_keep_the_others_of_a_dead_worker(rows: Rows, columns: dict[str, object]) -> None:
    dead = rows.worker()
    rows.task(state="in_progress", claimed_by=dead, claimed_at="2026-01-01 00:00:00+00")
    rows.task(state="in_progress", claimed_by=dead, **columns)
    assert rescued(rows, dead) == Rescue(True, 2)


def test_of_duplicates_of_a_dead_worker_the_oldest_keeps_the_hash(rows: Rows, beside_rust: None) -> None:
    dead = rows.worker()
    running = {"state": "in_progress", "claimed_by": dead, "uniq_hash": "a" * 64}
    _, oldest, _ = [rows.task(created_at=f"2026-01-0{day}", **running) for day in (2, 1, 3)]
    waits = rows.task(uniq_hash="b" * 64)
    rows.task(**{**running, "uniq_hash": "b" * 64})
    assert rescued(rows, dead) == Rescue(True, 4)
    assert rows.all(
        "SELECT id, state::text FROM fang_tasks WHERE uniq_hash IS NOT NULL ORDER BY uniq_hash"
    ) == [
        (oldest, "new"),
        (waits, "new"),
    ]


@pytest.mark.parametrize("ours", [True, False])
def test_of_duplicates_that_nobody_owns_one_keeps_the_hash(
    *, connection: Connection, rows: Rows, beside_rust: None, ours: bool
) -> None:
    owner = {"claimed_by": rows.worker(ended=True)} if ours else {"updated_at": "2026-01-01 00:00:00+00"}
    for _ in range(2):
        rows.task(state="in_progress", uniq_hash="a" * 64, **owner)
    done = rescue_orphans(connection) if ours else rescue_foreign(connection, timeout_seconds=1)
    assert len(done) == 2
    assert rows.all("SELECT state::text, count(uniq_hash) FROM fang_tasks GROUP BY 1") == [("new", 1)]


@pytest.mark.parametrize("ours", [True, False])
def test_a_locked_task_that_nobody_owns_is_left_and_the_others_go_back_to_their_places(
    *, engine: Engine, connection: Connection, rows: Rows, ours: bool
) -> None:
    owner = {"claimed_by": rows.worker(ended=True)} if ours else {"updated_at": "2026-01-01 00:00:00+00"}
    locked, free = (rows.task(state="in_progress", due_in=-60, **owner) for _ in range(2))
    before = rows.one(free).scheduled_at

    def give_back() -> list[UUID]:
        return rescue_orphans(connection) if ours else rescue_foreign(connection, timeout_seconds=1)

    with held(engine) as other:
        other.execute(text("SELECT FROM fang_tasks WHERE id = :id FOR UPDATE"), {"id": locked})
        assert give_back() == [free]
        assert rows.one(free).scheduled_at == before
    assert give_back() == [locked]


def test_idle_workers_hear_how_far_back_what_was_rescued_lies(
    direct: Engine, connection: Connection, rows: Rows
) -> None:
    dead = rows.worker()
    for due_in in (-100, -40):
        rows.task(state="in_progress", claimed_by=dead, due_in=due_in)
    with direct.connect() as listening:
        listening.execute(text("LISTEN spoils_tasks"))
        rescued(rows, dead)
        assert -110 < float(heard(listening, 1)[0]) < -100


@pytest.fixture
def slow_workers(rows: Rows) -> Iterator[None]:
    """Let who reads the workers wait for an advisory lock, once the statement's snapshot is taken."""
    for statement in (
        "ALTER TABLE spoils_workers RENAME TO workers_themselves",
        """
        CREATE FUNCTION workers_later() RETURNS SETOF workers_themselves LANGUAGE plpgsql STABLE
        SET lock_timeout = 20000 AS $$
        BEGIN
            PERFORM pg_advisory_xact_lock_shared(77);
            RETURN QUERY SELECT * FROM workers_themselves;
        END $$
        """,
        "CREATE VIEW spoils_workers AS SELECT * FROM workers_later()",
    ):
        rows.connection.execute(text(statement))
    yield
    for statement in (
        "DROP VIEW spoils_workers",
        "DROP FUNCTION workers_later()",
        "ALTER TABLE workers_themselves RENAME TO spoils_workers",
    ):
        rows.connection.execute(text(statement))


def test_a_task_that_a_new_worker_claims_while_orphans_are_looked_for_is_no_orphan(
    *, engine: Engine, connection: Connection, rows: Rows, slow_workers: None
) -> None:
    task_id = rows.task(state="in_progress", claimed_by=uuid4())
    newcomer = uuid4()
    with held(engine) as lock:
        lock.execute(text("SELECT pg_advisory_xact_lock(77)"))
        with meanwhile(engine, rescue_orphans) as looking:
            connection.execute(
                text(
                    "INSERT INTO workers_themselves (id, host, pid, release, task_types, threads) "
                    "VALUES (:id, 'test', 1, 'dev', '{sample}', 5)"
                ),
                {"id": newcomer},
            )
            connection.execute(text("UPDATE fang_tasks SET claimed_by = :id"), {"id": newcomer})
            lock.rollback()
        assert looking.result() == []
    assert rows.one(task_id).claimed_by == newcomer
