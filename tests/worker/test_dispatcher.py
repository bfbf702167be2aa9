"""The dispatcher claims what there is room for, and gives back what a lost answer left in the table."""

import threading
import time
from collections.abc import Iterator
from types import SimpleNamespace
from uuid import UUID

import pytest
from sqlalchemy import Engine, event, text

from spoils.db.engine import make_engine
from spoils.queue.claim import Claim
from spoils.worker import dispatcher as dispatching
from spoils.worker.claim_connection import Notified
from spoils.worker.dispatcher import (
    POLL_SECONDS,
    RECHECK_SECONDS,
    RECHECK_UNTIL_SECONDS,
    Dispatcher,
    Lane,
    Orders,
)
from spoils.worker.in_flight import InFlight
from spoils.worker.pool import Pool
from tests import locks
from tests.queue.hands import KINDS, TYPES, end, take
from tests.rows import Rows
from tests.support import eventually


class Bench:
    """A dispatcher with two threads whose jobs end when the test says so."""

    def __init__(self, engine: Engine, worker_id: UUID) -> None:
        self.engine = engine
        self.worker_id = worker_id
        self.in_flight = InFlight()
        self.registered = threading.Event()
        self.registered.set()
        self.writing = threading.Event()
        self.writing.set()
        self.gate = threading.Semaphore(0)
        self.begun: list[Claim] = []
        self.performed: list[Claim] = []
        self.pool = Pool(threads=2, perform=self._perform, on_room=lambda: None)
        self.dispatcher = Dispatcher(
            engine=engine,
            worker_id=worker_id,
            task_types=TYPES,
            kinds=KINDS,
            lanes=[Lane(pool=self.pool, task_types=TYPES, kinds=KINDS)],
            in_flight=self.in_flight,
            registered=self.registered,
            writing=self.writing,
        )
        self.pool.start()

    def _perform(self, claim: Claim) -> None:
        self.begun.append(claim)
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


@pytest.mark.parametrize("why", ["no heartbeat", "outcomes cannot be written", "draining"])
def test_it_claims_nothing_while_it_must_not(bench: Bench, rows: Rows, why: str) -> None:
    rows.task()
    match why:
        case "no heartbeat":
            bench.registered.clear()
        case "draining":
            bench.dispatcher.follow(Orders(draining=True))
        case _:
            bench.writing.clear()
    assert bench.dispatcher.tick() == POLL_SECONDS
    assert len(bench.in_flight) == 0
    bench.registered.set()
    bench.writing.set()
    bench.dispatcher.follow(Orders())
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


def test_notified_how_long_ago_something_was_due_it_looks_there_first(bench: Bench, rows: Rows) -> None:
    scan = bench.dispatcher._lanes[0].scan
    bench.dispatcher.tick()
    scan._look_back.learn("infinity", 5.0, filled=False)  # a look back takes long
    rows.task(due_in=-7200)
    bench.dispatcher._claims.notifications = lambda: Notified([-7200.0], [], {})  # type: ignore[method-assign]
    bench.dispatcher._hear()
    scan._look_back_at = 0.0
    bench.dispatcher.tick()
    assert len(bench.in_flight) == 1


def test_it_comes_back_when_the_next_task_falls_due_and_then_polls(bench: Bench) -> None:
    assert bench.dispatcher.tick() == POLL_SECONDS
    bench.dispatcher.due_in(3600)  # a later heartbeat says so again
    assert bench.dispatcher.tick() == POLL_SECONDS
    bench.dispatcher.due_in(0.4)
    bench.dispatcher.due_in(0.9)  # later: changes nothing
    assert 0.3 < bench.dispatcher.tick() <= 0.41
    bench.dispatcher.due_in(0.001)
    threading.Event().wait(0.05)
    assert bench.dispatcher.tick() == POLL_SECONDS


def test_a_suspect_waits_for_solitude_and_then_keeps_it(bench: Bench, rows: Rows) -> None:
    rows.task()
    bench.dispatcher.tick()
    suspect, other = rows.task(crashes=2), rows.task()
    bench.dispatcher.follow(Orders(suspect_due=True, make_room=True))
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
        bench.dispatcher.follow(Orders(suspect_due=True, make_room=True))
        bench.dispatcher.tick()
        assert rows.state(suspect) == rows.state(other) == "new"
    passed = 301.0 if asked else 299.0
    monkeypatch.setattr(dispatching, "time", SimpleNamespace(monotonic=lambda: begun + passed))
    bench.dispatcher.follow(Orders(suspect_due=True, make_room=asked))
    bench.dispatcher.tick()
    assert (rows.state(suspect), rows.state(other)) == ("new", "in_progress")


def test_a_worker_whose_turn_it_is_not_claims_on_beside_a_suspect(bench: Bench, rows: Rows) -> None:
    rows.task(due_in=-10)
    bench.dispatcher.tick()
    suspect, other = rows.task(crashes=2), rows.task()
    bench.dispatcher.follow(Orders(suspect_due=True))
    bench.dispatcher.tick()
    assert (rows.state(suspect), rows.state(other)) == ("new", "in_progress")
    bench.end(2)
    bench.dispatcher.follow(Orders(suspect_due=True))
    bench.dispatcher.tick()
    assert rows.state(suspect) == "in_progress"


def test_a_suspect_that_another_worker_took_does_not_keep_this_one_idle(bench: Bench, rows: Rows) -> None:
    task_id = rows.task()
    bench.dispatcher.follow(Orders(suspect_due=True, make_room=True))
    bench.dispatcher.tick()
    assert [claim.id for claim in bench.in_flight.claims()] == [task_id]


def test_a_claim_whose_answer_was_lost_is_released_and_what_is_in_hand_is_not(
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
    bench.dispatcher.follow(Orders(paused=frozenset([paused])))
    bench.dispatcher.tick()
    assert (rows.state(left), rows.state(taken)) == ("new", "in_progress")
    bench.dispatcher.follow(Orders())
    bench.dispatcher.tick()
    assert rows.state(left) == "in_progress"


def held_ahead(bench: Bench, rows: Rows) -> UUID:
    """Both threads are busy, and a third claim waits for one of them; its id."""
    for _ in range(2):
        rows.task(due_in=-5)
    bench.dispatcher.tick()

    def begun() -> None:
        assert len(bench.begun) == 2

    eventually(begun)
    task_id = rows.task()
    (ahead,) = take(rows.connection, bench.worker_id)
    bench.in_flight.add([ahead])
    bench.pool.submit([ahead])
    return task_id


def test_a_release_in_between_does_not_make_strays_forgotten(
    bench: Bench, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows.task()
    (ahead,) = take(rows.connection, bench.worker_id)
    stray = rows.task()

    def lose(_: Lane, __: list[Claim]) -> None:
        raise ConnectionResetError("the answer is lost")

    monkeypatch.setattr(bench.dispatcher, "_take_in_hand", lose)
    with pytest.raises(ConnectionResetError):
        bench.dispatcher.tick()
    bench.dispatcher._release([ahead])
    monkeypatch.undo()

    def claimed_anew() -> None:
        bench.dispatcher.tick()
        assert {one.id for one in bench.in_flight.claims()} == {stray, ahead.id}

    eventually(claimed_anew)


def test_a_claim_that_the_server_executes_late_is_released(
    bench: Bench, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench.dispatcher, "_claim_once", lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        bench.dispatcher.tick()
    monkeypatch.undo()
    bench.dispatcher.follow(Orders(draining=True))
    bench.dispatcher.tick()
    late = rows.task()
    take(rows.connection, bench.worker_id)

    def released() -> None:
        bench.dispatcher.tick()
        assert rows.state(late) == "new"

    eventually(released)


def test_what_no_thread_has_begun_is_released_at_the_end(bench: Bench, rows: Rows) -> None:
    task_id = held_ahead(bench, rows)
    bench.dispatcher.release_unstarted()
    row = rows.one(task_id)
    assert (row.state, row.claimed_by, row.retries) == ("new", None, 0)
    assert task_id not in {claim.id for claim in bench.in_flight.claims()}
    assert len(bench.in_flight) == 2
    bench.dispatcher.release_unstarted()  # nothing is left
    assert len(bench.in_flight) == 2


def test_what_is_locked_while_it_is_released_is_released_though_nothing_is_claimed(
    bench: Bench, engine: Engine, rows: Rows
) -> None:
    task_id = held_ahead(bench, rows)
    with locks.held(engine) as other:
        other.execute(text("SELECT FROM fang_tasks WHERE id = :id FOR UPDATE"), {"id": task_id})
        bench.dispatcher.release_unstarted()
        assert rows.state(task_id) == "in_progress"

    def released() -> None:
        bench.dispatcher.tick()
        assert rows.state(task_id) == "new"

    assert bench.pool.room == 0, "the threads are busy"
    eventually(released)


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


def test_after_a_notification_it_claims_again_for_a_moment_and_then_polls(
    listening: Bench, rows: Rows
) -> None:
    listening.dispatcher.tick()  # it listens from now on
    task_id = rows.task()
    listening.dispatcher._wait(60)
    assert RECHECK_SECONDS <= listening.dispatcher.tick() <= RECHECK_UNTIL_SECONDS
    assert [one.id for one in listening.in_flight.claims()] == [task_id]
    delays = [listening.dispatcher.tick()]
    while delays[-1] != POLL_SECONDS:
        listening.dispatcher._wait(delays[-1])
        delays.append(listening.dispatcher.tick())
    assert all(delay <= RECHECK_UNTIL_SECONDS for delay in delays[:-1])


def test_what_is_put_in_while_it_claims_is_claimed_at_once(
    listening: Bench, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    listening.dispatcher.tick()
    take_in_hand = listening.dispatcher._take_in_hand

    def take_and_put(lane: Lane, claims: list[Claim]) -> None:
        take_in_hand(lane, claims)
        rows.task()
        listening.dispatcher._claims.wait(60)  # the notification comes

    monkeypatch.setattr(listening.dispatcher, "_take_in_hand", take_and_put)
    assert listening.dispatcher.tick() == 0
    monkeypatch.undo()
    listening.dispatcher.tick()
    assert len(listening.in_flight) == 1


def test_notified_of_what_falls_due_soon_it_claims_then(listening: Bench, rows: Rows) -> None:
    listening.dispatcher.tick()
    rows.task(due_in=0.5)
    listening.dispatcher._wait(60)
    delay = listening.dispatcher.tick()
    assert 0.2 < delay <= 0.51
    listening.dispatcher._wait(delay)
    listening.dispatcher.tick()
    assert len(listening.in_flight) == 1


def test_in_a_thread_of_its_own_it_claims_what_is_put_in_and_stops(listening: Bench, rows: Rows) -> None:
    listening.dispatcher.loop.start()
    ids = []
    for number in (1, 2):
        ids.append(rows.task())

        def begun(number: int = number) -> None:
            assert len(listening.begun) == number

        eventually(begun)
    waiting = rows.task()
    listening.gate.release()  # the freed thread may take the task at once
    listening.dispatcher.loop.wake()

    def claimed() -> None:
        assert rows.state(waiting) == "in_progress"

    eventually(claimed)
    assert listening.dispatcher.loop.stop(30)


def test_notified_of_a_free_place_it_claims_what_waits_for_it(bench: Bench, rows: Rows) -> None:
    bench.dispatcher.tick()
    task_id = rows.task(priority=-5)
    bench.dispatcher._claims.notifications = lambda: Notified([], ["SampleJob"], {})  # type: ignore[method-assign]
    bench.dispatcher._hear()
    bench.dispatcher.tick()
    assert [one.id for one in bench.in_flight.claims()] == [task_id]


def test_a_heartbeat_makes_it_look_for_tasks_under_limits_of_any_key(bench: Bench, rows: Rows) -> None:
    bench.dispatcher.tick()
    task_id = rows.task(priority=-5)
    bench.dispatcher.follow(Orders(limited=True))
    bench.dispatcher.tick()
    assert [one.id for one in bench.in_flight.claims()] == [task_id]


def test_a_suspect_under_limits_is_claimed_alone(bench: Bench, rows: Rows) -> None:
    task_id = rows.task(priority=-5, crashes=2)
    bench.dispatcher.follow(Orders(suspect_due=True, limited=True))
    bench.dispatcher.tick()
    assert [one.id for one in bench.in_flight.claims()] == [task_id]


def test_notified_of_a_hold_it_claims_none_of_that_type(bench: Bench, rows: Rows) -> None:
    rows.task()
    rows.task(priority=-5)
    other = rows.task(task_type="unique_sample")
    bench.dispatcher._claims.notifications = lambda: Notified([], ["SampleJob"], {"sample": 30.0})  # type: ignore[method-assign]
    bench.dispatcher._hear()
    bench.dispatcher.tick()
    assert [one.id for one in bench.in_flight.claims()] == [other]
