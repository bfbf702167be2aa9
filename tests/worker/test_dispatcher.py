"""The dispatcher claims what there is room for, and gives back what a lost answer left in the table."""

import threading
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Engine, event, text
from sqlalchemy.exc import DBAPIError

from spoils.db.engine import make_engine
from spoils.queue.claim import Claim
from spoils.queue.claim_scope import LEVELS
from spoils.queue.cursors import HEAD
from spoils.worker import dispatcher as dispatching
from spoils.worker import pace
from spoils.worker.dispatcher import AGAIN_SECONDS, IDLE_SECONDS, POLL_SECONDS, Dispatcher
from spoils.worker.in_flight import InFlight
from spoils.worker.pool import Pool
from tests import locks
from tests.queue.hands import KINDS, TYPES, end, take
from tests.rows import Rows
from tests.support import eventually


class Bench:
    """A dispatcher with two threads whose jobs end when the test says so."""

    def __init__(self, engine: Engine, worker_id: UUID, *, led: bool = False) -> None:
        self.engine = engine
        self.worker_id = worker_id
        self.in_flight = InFlight()
        self.attending = threading.Event()
        self.attending.set()
        self.writing = threading.Event()
        self.writing.set()
        self.gate = threading.Semaphore(0)
        self.led_by: list[int] = []
        self.performed_by: list[int] = []
        self.performed: list[Claim] = []
        self.pool = Pool(
            threads=2, perform=self._perform, on_room=lambda: None, lead=self._lead if led else None
        )
        self.dispatcher = Dispatcher(
            engine=engine,
            worker_id=worker_id,
            task_types=TYPES,
            kinds=KINDS,
            pool=self.pool,
            in_flight=self.in_flight,
            attending=self.attending,
            writing=self.writing,
        )
        self.pool.start()

    def _lead(self) -> Claim | None:
        self.led_by.append(threading.get_ident())
        return self.dispatcher.lead()

    def _perform(self, claim: Claim) -> None:
        self.performed_by.append(threading.get_ident())
        self.gate.acquire(timeout=30)
        self.performed.append(claim)
        self.in_flight.drop([claim.token])

    def end(self, number: int) -> None:
        """Let so many jobs end, and wait until their threads are free."""
        busy = self.pool.busy - number
        for _ in range(number):
            self.gate.release()

        def ended() -> None:
            assert self.pool.busy == busy

        eventually(ended)


@pytest.fixture
def bench(engine: Engine, rows: Rows) -> Iterator[Bench]:
    bench = Bench(engine, rows.worker())
    yield bench
    for _ in range(10):
        bench.gate.release()
    bench.pool.stop()


def test_it_claims_as_much_as_there_are_free_threads(bench: Bench, rows: Rows) -> None:
    for _ in range(5):
        rows.task()
    assert bench.dispatcher.tick() == 0  # it found as many as it asked for: there may be more
    assert len(bench.in_flight) == 2
    assert bench.dispatcher.tick() == POLL_SECONDS
    assert rows.value("SELECT count(*) FROM fang_tasks WHERE state = 'in_progress'") == 2
    bench.end(1)
    bench.dispatcher.tick()
    assert rows.value("SELECT count(*) FROM fang_tasks WHERE state = 'in_progress'") == 3


def test_a_claim_takes_no_more_than_in_a_moment_as_those_before_it_tell(
    bench: Bench, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pace, "LEAST_CLAIM", 1)
    for _ in range(6):
        rows.task()
    bench.dispatcher.tick()
    assert len(bench.in_flight) == 2
    monkeypatch.setattr(pace, "CLAIM_SECONDS", 1e-9)
    bench.end(2)
    for held in (1, 2):
        bench.dispatcher.tick()
        assert len(bench.in_flight) == held
    monkeypatch.setattr(pace, "CLAIM_SECONDS", 100.0)
    bench.end(2)
    bench.dispatcher.tick()
    assert len(bench.in_flight) == 2


def test_it_claims_nothing_while_the_worker_is_not_seen_to_live(bench: Bench, rows: Rows) -> None:
    rows.task()
    bench.attending.clear()
    assert bench.dispatcher.tick() == POLL_SECONDS
    assert len(bench.in_flight) == 0
    bench.attending.set()
    bench.dispatcher.tick()
    assert len(bench.in_flight) == 1


def test_it_claims_nothing_while_no_outcome_can_be_written(bench: Bench, rows: Rows) -> None:
    rows.task()
    bench.writing.clear()
    assert bench.dispatcher.tick() == POLL_SECONDS
    assert len(bench.in_flight) == 0
    bench.writing.set()
    bench.dispatcher.tick()
    assert len(bench.in_flight) == 1


def test_a_task_whose_claim_a_crash_of_the_server_has_undone_is_not_performed_twice_at_once(
    bench: Bench, rows: Rows
) -> None:
    task_id = rows.task()
    bench.dispatcher.tick()
    (first,) = bench.in_flight.claims()
    rows.connection.execute(
        text("UPDATE fang_tasks SET state = 'new', attempts = 0, claimed_by = NULL, claimed_at = NULL")
    )
    bench.dispatcher.tick()
    assert [one.id for one in bench.in_flight.claims()] == [task_id, task_id]
    assert bench.pool.busy == 1
    bench.end(1)
    assert bench.performed == [first]
    bench.dispatcher.tick()
    assert bench.pool.busy == 1
    bench.end(1)
    second = bench.performed[1]
    assert second.claimed_at == rows.value("SELECT claimed_at::text FROM fang_tasks")
    assert second.token != first.token
    assert len(bench.in_flight) == 0


def test_told_how_long_ago_something_was_due_it_looks_there_first(bench: Bench, rows: Rows) -> None:
    cursors = bench.dispatcher._cursors
    bench.dispatcher.tick()
    cursors._sweep._sliced = True  # a look from the head takes long
    rows.task(due_in=-7200)

    def look() -> int:
        cursors._head_again_at = 0.0
        bench.dispatcher.tick()
        return len(bench.in_flight)

    assert look() == 0
    bench.dispatcher._hear(-7200.0)
    assert look() == 1


def test_an_idle_worker_comes_back_soon_for_what_it_may_not_look_at_at_once(listening: Bench) -> None:
    cursors = listening.dispatcher._cursors
    assert listening.dispatcher.tick() == IDLE_SECONDS
    cursors._head_again_at = time.monotonic() + 3  # a look from the head has taken a while
    listening.dispatcher._hear(-60.0)
    while (delay := listening.dispatcher.tick()) in (0.0, *AGAIN_SECONDS):
        pass
    assert delay == POLL_SECONDS
    cursors._head_again_at = 0.0
    assert listening.dispatcher.tick() == IDLE_SECONDS


def test_it_comes_back_when_the_next_task_falls_due(bench: Bench) -> None:
    assert bench.dispatcher.tick() >= POLL_SECONDS
    bench.dispatcher.due_in(0.4)
    bench.dispatcher.due_in(0.9)  # later: changes nothing
    assert 0.3 < bench.dispatcher.tick() <= 0.41
    bench.dispatcher.due_in(0.1)
    assert bench.dispatcher.tick() <= 0.11


def test_what_is_due_much_later_is_left_to_a_later_beat(bench: Bench) -> None:
    bench.dispatcher.due_in(3600)
    assert bench.dispatcher.tick() >= POLL_SECONDS


def test_a_suspect_waits_for_solitude_and_then_keeps_it(bench: Bench, rows: Rows) -> None:
    rows.task()
    bench.dispatcher.tick()
    suspect, other = rows.task(crashes=2), rows.task()
    bench.dispatcher.suspect_due(True, make_room=True)
    assert bench.dispatcher.tick() == POLL_SECONDS
    assert rows.state(suspect) == rows.state(other) == "new"
    bench.end(1)
    bench.dispatcher.tick()
    assert [claim.id for claim in bench.in_flight.claims()] == [suspect]
    assert bench.dispatcher.tick() == POLL_SECONDS
    assert rows.state(other) == "new"
    bench.end(1)
    bench.dispatcher.tick()
    assert rows.state(other) == "in_progress"


@pytest.mark.parametrize("asked", [True, False], ids=["its turn", "not its turn any more"])
def test_room_is_made_for_a_suspect_for_five_minutes_at_a_time(
    *, bench: Bench, rows: Rows, monkeypatch: pytest.MonkeyPatch, asked: bool
) -> None:
    rows.task()
    bench.dispatcher.tick()
    suspect, other = rows.task(crashes=2), rows.task()
    begun = time.monotonic()
    for passed in (0.0, 100.0, 299.0):
        monkeypatch.setattr(
            dispatching, "time", SimpleNamespace(monotonic=lambda passed=passed: begun + passed)
        )
        bench.dispatcher.suspect_due(True, make_room=True)
        bench.dispatcher.tick()
        assert rows.state(suspect) == rows.state(other) == "new"
    passed = 301.0 if asked else 299.0
    monkeypatch.setattr(dispatching, "time", SimpleNamespace(monotonic=lambda: begun + passed))
    bench.dispatcher.suspect_due(True, make_room=asked)
    bench.dispatcher.tick()
    assert (rows.state(suspect), rows.state(other)) == ("new", "in_progress")


def test_a_worker_whose_turn_it_is_not_claims_on_beside_a_suspect(bench: Bench, rows: Rows) -> None:
    rows.task(due_in=-10)
    bench.dispatcher.tick()
    suspect, other = rows.task(crashes=2), rows.task()
    bench.dispatcher.suspect_due(True, make_room=False)
    bench.dispatcher.tick()
    assert (rows.state(suspect), rows.state(other)) == ("new", "in_progress")
    bench.end(2)
    bench.dispatcher.suspect_due(True, make_room=False)
    bench.dispatcher.tick()
    assert rows.state(suspect) == "in_progress"


def test_a_suspect_that_another_worker_took_does_not_keep_this_one_idle(bench: Bench, rows: Rows) -> None:
    task_id = rows.task()
    bench.dispatcher.suspect_due(True, make_room=True)
    bench.dispatcher.tick()
    assert [claim.id for claim in bench.in_flight.claims()] == [task_id]


def test_a_claim_whose_answer_was_lost_is_given_back_and_what_is_in_hand_is_not(
    bench: Bench, engine: Engine, rows: Rows
) -> None:
    kept = rows.task(due_in=-5)
    bench.dispatcher.tick()
    stray = rows.task()
    losing = True

    @event.listens_for(engine, "after_cursor_execute")
    def lose(_c: object, _u: object, statement: str, *_: object) -> None:
        if losing and "attempts" in statement and "UPDATE fang_tasks" in statement:
            raise ConnectionResetError("the answer is lost")

    with pytest.raises(ConnectionResetError):
        bench.dispatcher.tick()
    assert rows.one(stray).claimed_by == bench.worker_id
    assert [claim.id for claim in bench.in_flight.claims()] == [kept]
    losing = False
    bench.dispatcher.tick()
    # Given back, and claimed anew by the same tick: now it is in hand.
    row = rows.one(stray)
    assert (row.state, row.claimed_by, row.attempts, row.crashes) == ("in_progress", bench.worker_id, 2, 0)
    assert {claim.id for claim in bench.in_flight.claims()} == {kept, stray}
    assert rows.one(kept).attempts == 1


def test_a_claim_that_failed_is_not_held_against_what_was_settled_meanwhile(
    bench: Bench, engine: Engine, rows: Rows
) -> None:
    task_id = rows.task()
    bench.dispatcher.tick()
    (claim,) = bench.in_flight.claims()
    rows.connection.execute(text("ALTER TABLE fang_tasks RENAME TO away"))
    try:
        with pytest.raises(Exception, match="fang_tasks"):
            bench.dispatcher.tick()
    finally:
        rows.connection.execute(text("ALTER TABLE away RENAME TO fang_tasks"))
    assert end(rows.connection, bench.worker_id, claim) == {task_id}
    bench.dispatcher.tick()
    assert rows.state(task_id) == "finished"


def test_it_leaves_paused_types_alone(bench: Bench, rows: Rows) -> None:
    paused, free = TYPES[0], TYPES[1]
    left = rows.task(task_type=paused)
    taken = rows.task(task_type=free)
    bench.dispatcher.obey(draining=False, paused=frozenset([paused]))
    bench.dispatcher.tick()
    assert (rows.state(left), rows.state(taken)) == ("new", "in_progress")
    bench.dispatcher.obey(draining=False, paused=frozenset())
    bench.dispatcher.tick()
    assert rows.state(left) == "in_progress"


def test_it_claims_nothing_when_asked_not_to(bench: Bench, rows: Rows) -> None:
    task_id = rows.task()
    bench.dispatcher.obey(draining=True, paused=frozenset())
    assert bench.dispatcher.tick() == POLL_SECONDS
    assert rows.state(task_id) == "new"
    bench.dispatcher.obey(draining=False, paused=frozenset())
    bench.dispatcher.tick()
    assert rows.state(task_id) == "in_progress"


def held_ahead(bench: Bench, rows: Rows) -> UUID:
    """Both threads are busy, and a third claim waits for one of them; its id."""
    for _ in range(2):
        rows.task(due_in=-5)
    bench.dispatcher.tick()

    def begun() -> None:
        assert len(bench.performed_by) == 2

    eventually(begun)
    task_id = rows.task()
    (ahead,) = take(rows.connection, bench.worker_id)
    bench.in_flight.add([ahead])
    bench.pool.submit([ahead])
    return task_id


def test_giving_back_makes_a_lost_answer_no_surer(
    bench: Bench, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = bench.dispatcher._claimer
    rows.task()
    (ahead,) = take(rows.connection, bench.worker_id)
    take_in_hand = ours._take_in_hand

    def lose(_: list[Claim]) -> None:
        raise ConnectionResetError("the answer is lost")

    monkeypatch.setattr(ours, "_take_in_hand", lose)
    stray = rows.task()
    with pytest.raises(ConnectionResetError):
        bench.dispatcher.tick()
    ours.give_back([ahead])
    monkeypatch.setattr(ours, "_take_in_hand", take_in_hand)

    def claimed_anew() -> None:
        bench.dispatcher.tick()
        assert {one.id for one in bench.in_flight.claims()} == {stray, ahead.id}

    eventually(claimed_anew)


def test_what_no_thread_has_begun_is_given_back_at_the_end(bench: Bench, rows: Rows) -> None:
    task_id = held_ahead(bench, rows)
    bench.dispatcher.give_back_unstarted()
    row = rows.one(task_id)
    assert (row.state, row.claimed_by, row.retries) == ("new", None, 0)
    assert task_id not in {claim.id for claim in bench.in_flight.claims()}
    assert len(bench.in_flight) == 2
    bench.dispatcher.give_back_unstarted()  # nothing is left
    assert len(bench.in_flight) == 2


def test_what_is_locked_while_it_is_given_back_is_given_back_though_nothing_is_claimed(
    bench: Bench, engine: Engine, rows: Rows
) -> None:
    task_id = held_ahead(bench, rows)
    with locks.held(engine) as other:
        other.execute(text("SELECT FROM fang_tasks WHERE id = :id FOR UPDATE"), {"id": task_id})
        bench.dispatcher.give_back_unstarted()
        assert rows.state(task_id) == "in_progress"

    def given_back() -> None:
        bench.dispatcher.tick()
        assert rows.state(task_id) == "new"

    assert bench.pool.room == 0, "the threads are busy"
    eventually(given_back)


def test_what_is_locked_while_it_is_given_back_is_given_back_by_a_later_claim(
    bench: Bench, engine: Engine, rows: Rows
) -> None:
    task_id = held_ahead(bench, rows)
    with locks.held(engine) as other:
        other.execute(text("SELECT FROM fang_tasks WHERE id = :id FOR UPDATE"), {"id": task_id})
        bench.dispatcher.give_back_unstarted()
        bench.end(1)
        assert end(rows.connection, bench.worker_id, *bench.performed)
        bench.dispatcher.tick()
        assert (rows.state(task_id), rows.one(task_id).attempts) == ("in_progress", 1)
        assert task_id not in {claim.id for claim in bench.in_flight.claims()}

    def claimed_anew() -> None:
        bench.dispatcher.tick()
        assert [claim.id for claim in bench.in_flight.claims()][-1] == task_id

    eventually(claimed_anew)
    assert rows.one(task_id).attempts == 2


def test_a_moment_that_has_passed_is_forgotten(bench: Bench) -> None:
    bench.dispatcher.due_in(0.001)
    threading.Event().wait(0.05)
    assert bench.dispatcher.tick() >= POLL_SECONDS


@pytest.fixture
def listening(database_url: str, rows: Rows) -> Iterator[Bench]:
    """A dispatcher that talks to the server itself, as one behind a pooler cannot listen."""
    direct = make_engine(
        database_url, connections=2, application_name="tests", autocommit=True, by_index=True, ping=False
    )
    bench = Bench(direct, rows.worker())
    yield bench
    for _ in range(10):
        bench.gate.release()
    bench.pool.stop()
    bench.dispatcher.close()
    direct.dispose()


def test_an_idle_worker_that_listens_leaves_polling_to_the_beat_and_says_where(
    listening: Bench, rows: Rows
) -> None:
    assert listening.dispatcher.tick() == IDLE_SECONDS
    since = listening.dispatcher.since
    assert since is not None
    assert set(since) == {(task_type, level) for task_type in TYPES for level in LEVELS}
    assert set(since.values()) == {HEAD}
    rows.task()
    listening.dispatcher.due_in(0)  # what a beat says then
    listening.dispatcher.tick()
    assert len(listening.in_flight) == 1
    while (delay := listening.dispatcher.tick()) in AGAIN_SECONDS:
        pass
    assert delay == POLL_SECONDS  # something is in hand
    assert listening.dispatcher.since is None


def test_what_a_beat_says_is_claimed_once_and_not_again_and_again(listening: Bench) -> None:
    listening.dispatcher.tick()
    listening.dispatcher.due_in(-5)
    assert listening.dispatcher.tick() >= POLL_SECONDS


def test_without_a_place_to_hear_from_it_polls_by_itself(listening: Bench) -> None:
    listening.dispatcher._listener.attach = lambda connection: None  # type: ignore[method-assign]
    assert listening.dispatcher.tick() == POLL_SECONDS
    assert listening.dispatcher.since is None


def test_what_is_put_in_while_it_claims_is_looked_for_at_once(
    listening: Bench, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    listening.dispatcher.tick()  # it listens from now on
    ours = listening.dispatcher._claimer
    claim_first = ours.claim

    def claim_and_put(room: int, paused: frozenset[str]) -> bool:
        more = claim_first(room, paused)
        rows.task()
        with ours._claiming() as connection:
            connection.exec_driver_sql("SELECT 1")  # the notification comes with an answer
        ours._unsure = False
        return more

    monkeypatch.setattr(ours, "claim", claim_and_put)
    assert listening.dispatcher.tick() == 0
    monkeypatch.undo()
    listening.dispatcher.tick()
    assert len(listening.in_flight) == 1


def test_it_claims_and_listens_again_after_its_session_was_ended(listening: Bench, rows: Rows) -> None:
    listening.dispatcher.tick()
    rows.connection.execute(
        text(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
            "WHERE datname = current_database() AND query LIKE '%spoils_claim%' AND pid <> pg_backend_pid()"
        )
    )
    with pytest.raises(DBAPIError):
        listening.dispatcher.tick()
    listening.dispatcher.tick()
    rows.task()
    started = time.monotonic()
    listening.dispatcher._wait(60)
    assert time.monotonic() - started < 30  # what was put in ended the wait
    listening.dispatcher.tick()
    assert len(listening.in_flight) == 1


def put_in(rows: Rows, **columns: Any) -> UUID:
    """Insert a task as an enqueue does: alone, longer after the last one than notifications are thinned."""
    time.sleep(0.02)
    return rows.task(**columns)


def test_an_idle_worker_takes_the_task_it_is_told_of_and_looks_at_everything_soon_after(
    listening: Bench, rows: Rows
) -> None:
    listening.dispatcher.tick()
    rows.connection.execute(text("SET session_replication_role = replica"))  # its notification got lost
    before = rows.task(priority=2)
    rows.connection.execute(text("RESET session_replication_role"))
    task_id = put_in(rows)
    assert listening.dispatcher._wait(60) == AGAIN_SECONDS[0]
    assert [one.id for one in listening.in_flight.claims()] == [task_id]
    listening.dispatcher.tick()
    assert {one.id for one in listening.in_flight.claims()} == {task_id, before}


def test_a_task_that_another_worker_took_is_looked_for_no_more_at_once(listening: Bench, rows: Rows) -> None:
    listening.dispatcher.tick()
    task_id = put_in(rows)
    assert take(rows.connection, rows.worker())[0].id == task_id
    # It may have no thread free for what was put in beside that task, of which nobody was notified.
    assert listening.dispatcher._wait(60) == AGAIN_SECONDS[1]
    assert len(listening.in_flight) == 0


def test_told_of_several_it_looks_for_all_of_them(listening: Bench, rows: Rows) -> None:
    listening.dispatcher.tick()
    rows.connection.execute(text("SET session_replication_role = replica"))
    ids = {rows.task(), rows.task()}
    rows.connection.execute(text("RESET session_replication_role"))
    rows.all("SELECT pg_notify('spoils_tasks', '-0.001 ' || id) FROM fang_tasks")  # in one commit, so at once
    assert listening.dispatcher._wait(60) == 0
    assert len(listening.in_flight) == 0
    listening.dispatcher.tick()
    assert {one.id for one in listening.in_flight.claims()} == ids


def test_woken_and_told_at_once_it_looks_at_everything(listening: Bench, rows: Rows) -> None:
    listening.dispatcher.tick()
    task_id = put_in(rows)
    eventually(lambda: heard(listening))
    listening.dispatcher.loop.wake()
    assert listening.dispatcher._wait(60) == 0
    assert len(listening.in_flight) == 0
    listening.dispatcher.tick()
    assert [one.id for one in listening.in_flight.claims()] == [task_id]


def heard(listening: Bench) -> None:
    """Its connection holds a notification that nobody has read yet."""
    connection = listening.dispatcher._listener._connection
    connection.poll()
    assert connection.notifies


def test_what_is_put_in_while_it_comes_to_rest_is_looked_for_at_once(
    listening: Bench, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = listening.dispatcher._claimer
    make_ready = ours.make_ready

    def make_ready_late(paused: frozenset[str]) -> None:
        rows.task()
        make_ready(paused)
        eventually(lambda: heard(listening))

    monkeypatch.setattr(ours, "make_ready", make_ready_late)
    assert listening.dispatcher.tick() == 0
    monkeypatch.undo()
    listening.dispatcher.tick()
    assert len(listening.in_flight) == 1


def test_a_session_that_could_not_listen_is_ended_and_lent_to_nobody(
    listening: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        listening.dispatcher._listener, "attach", lambda connection: 1 / 0 if connection else None
    )
    with pytest.raises(ZeroDivisionError):
        listening.dispatcher.tick()
    monkeypatch.undo()
    with listening.engine.connect() as connection:
        source = "SELECT source FROM pg_settings WHERE name = 'synchronous_commit'"
        assert connection.scalar(text(source)) != "session"
    listening.dispatcher.tick()
    driver = listening.dispatcher._listener._connection
    with driver.cursor() as cursor:
        cursor.execute("SHOW synchronous_commit")
        assert cursor.fetchall() == [("off",)]


@pytest.mark.parametrize("before", [True, False])
def test_a_task_of_a_paused_type_is_not_taken_though_it_is_named(
    listening: Bench, rows: Rows, before: bool
) -> None:
    paused = frozenset([TYPES[0]])
    if before:
        listening.dispatcher.obey(draining=False, paused=paused)
    listening.dispatcher.tick()
    listening.dispatcher.obey(draining=False, paused=paused)
    task_id = put_in(rows, task_type=TYPES[0])
    if listening.dispatcher._wait(60) == 0:
        listening.dispatcher.tick()
    assert rows.state(task_id) == "new"


@pytest.mark.parametrize("meanwhile", ["draining", "not seen to live", "a suspect"])
def test_what_it_is_told_of_it_leaves_alone_where_a_tick_would(
    listening: Bench, rows: Rows, meanwhile: str
) -> None:
    listening.dispatcher.tick()
    match meanwhile:
        case "draining":
            listening.dispatcher.obey(draining=True, paused=frozenset())
        case "not seen to live":
            listening.attending.clear()
        case _:
            listening.dispatcher.suspect_due(True, make_room=True)
            assert listening.dispatcher._wait(60) == 0  # it was woken
    put_in(rows)
    assert listening.dispatcher._wait(60) == 0
    assert len(listening.in_flight) == 0


def test_a_claim_that_fails_while_it_waits_ends_its_session_and_is_looked_for_as_a_stray(
    listening: Bench, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    listening.dispatcher.tick()
    ours = listening.dispatcher._claimer
    take_in_hand = ours._take_in_hand

    def lose(_: list[Claim]) -> None:
        raise ConnectionResetError("the answer is lost")

    monkeypatch.setattr(ours, "_take_in_hand", lose)
    task_id = put_in(rows)
    with pytest.raises(ConnectionResetError):
        listening.dispatcher._wait(60)
    monkeypatch.setattr(ours, "_take_in_hand", take_in_hand)
    assert rows.state(task_id) == "in_progress"
    listening.dispatcher.tick()
    assert [(one.id, one.attempts) for one in listening.in_flight.claims()] == [(task_id, 2)]


def test_words_of_somebody_else_that_look_like_a_task_cost_a_session_and_no_more(
    listening: Bench, rows: Rows
) -> None:
    listening.dispatcher.tick()
    rows.value("SELECT pg_notify('spoils_tasks', '-0.001 ' || repeat('x', 36))")
    with pytest.raises(DBAPIError, match="invalid input syntax for type uuid"):
        listening.dispatcher._wait(60)
    listening.dispatcher.tick()
    task_id = put_in(rows)
    assert listening.dispatcher._wait(60) > 0
    assert [one.id for one in listening.in_flight.claims()] == [task_id]


def heard_of(listening: Bench) -> None:
    """Wait until the dispatcher has heard of what was put in."""

    def told() -> None:
        listening.dispatcher._wait(0.1)
        assert listening.dispatcher._told

    eventually(told)


def test_while_more_waits_than_there_is_room_for_nothing_goes_before_it(listening: Bench, rows: Rows) -> None:
    waiting = [rows.task(due_in=-10) for _ in range(3)]
    while listening.dispatcher.tick() == 0:
        pass
    assert len(listening.in_flight) == 2
    put_in(rows)
    heard_of(listening)
    listening.end(1)
    listening.dispatcher.tick()
    assert {one.id for one in listening.in_flight.claims()} | {one.id for one in listening.performed} == set(
        waiting
    )


@pytest.fixture
def led(engine: Engine, rows: Rows) -> Iterator[Bench]:
    """A dispatcher that a thread of its pool runs, until it has something to perform."""
    led = Bench(engine, rows.worker(), led=True)

    def waits() -> None:
        assert (len(led.led_by), led.pool._idle) == (1, 2)

    eventually(waits)
    yield led
    for _ in range(10):
        led.gate.release()
    assert led.dispatcher.loop.stop(30)
    led.pool.stop()
    led.dispatcher.close()


def test_who_has_claimed_one_task_performs_it_and_another_claims_on(led: Bench, rows: Rows) -> None:
    for number in (1, 2):
        rows.task()
        led.dispatcher.loop.wake()

        def performed(number: int = number) -> None:
            assert len(led.in_flight) == len(led.performed_by) == number == len(led.led_by) - 1

        eventually(performed)
    assert led.performed_by == led.led_by[:2]
    assert len(set(led.led_by)) == 3
    waiting = rows.task()
    led.gate.release()

    def claimed() -> None:
        assert rows.state(waiting) == "in_progress"

    eventually(claimed)


def test_who_stops_it_just_when_a_task_was_claimed_is_waited_for_and_the_task_performed(
    led: Bench, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    let_go = led.dispatcher.loop.let_go

    def stop_and_let_go() -> None:
        led.dispatcher.loop.stop()
        let_go()

    monkeypatch.setattr(led.dispatcher.loop, "let_go", stop_and_let_go)
    rows.task()
    led.dispatcher.loop.wake()

    def performed() -> None:
        assert (len(led.performed_by), len(led.led_by)) == (1, 2)

    eventually(performed)
    assert led.dispatcher.loop.stop(30)
    assert len(led.in_flight) == 1


def test_a_task_that_was_claimed_is_performed_whatever_fails_after_that(
    led: Bench, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise OSError("no answer")

    monkeypatch.setattr(led.dispatcher._listener, "pass_on", fail)
    rows.task()
    led.dispatcher.loop.wake()

    def performed() -> None:
        assert (len(led.performed_by), len(led.in_flight)) == (1, 1)

    eventually(performed)
    monkeypatch.undo()
    rows.task()

    def claimed() -> None:
        assert len(led.in_flight) == 2

    eventually(claimed)
