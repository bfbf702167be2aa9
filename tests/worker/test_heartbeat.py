"""The thread that beats: what it hears with a beat, what it does where its lock is taken, and how it leaves."""

import logging
import time
from collections.abc import Iterator
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError

from spoils.db.engine import make_engine
from spoils.db.trouble import Trouble
from spoils.job.output import Output
from spoils.queue import worker_rows as statements
from spoils.queue.outputs import OutputOf
from spoils.worker.heartbeat import Heartbeat, LockStillHeld
from tests.queue.hands import KINDS, TYPES, take
from tests.rows import Rows
from tests.support import eventually


class Ears:
    """What a presence has said to the other parts, by the name of what was said."""

    def __init__(self, engine: Engine) -> None:
        self.heard: list[tuple[str, Any]] = []
        self.worker_id = uuid4()
        self.performing: list[UUID] = []
        self.heartbeat = Heartbeat(
            engine=engine,
            worker_id=self.worker_id,
            release="v1",
            capacity=5,
            task_types=TYPES,
            job_classes=dict.fromkeys(KINDS, "1"),
            running=lambda: 0,
            performing=lambda: self.performing,
            on_due=lambda seconds: self.heard.append(("due", seconds)),
            on_dead=lambda dead: self.heard.append(("dead", dead)),
            on_cancelled=lambda ids: self.heard.append(("cancelled", ids)),
            on_orders=lambda orders: self.heard.append(("orders", orders)),
            on_registered=lambda: self.heard.append(("registered", None)),
            on_ended=lambda: self.heard.append(("ended", None)),
        )

    def of(self, name: str) -> list[Any]:
        return [said for kind, said in self.heard if kind == name]


@pytest.fixture
def direct(database_url: str) -> Iterator[Engine]:
    """Connect without a pooler in any case: a lock and a LISTEN need a session of their own."""
    made = make_engine(database_url, connections=5, application_name="tests", autocommit=True)
    yield made
    made.dispose()


@pytest.fixture
def ears(direct: Engine) -> Iterator[Ears]:
    ears = Ears(direct)
    yield ears
    ears.heartbeat._disconnect()


def test_a_beat_tells_what_falls_due_and_what_an_operator_wants_to_stop(ears: Ears, rows: Rows) -> None:
    assert ears.heartbeat.tick() > 0
    assert ears.heartbeat.registered.is_set()
    assert ears.of("registered") == [None]
    running = rows.task()
    (claim,) = take(rows.connection, ears.worker_id)
    rows.connection.execute(
        text("UPDATE fang_tasks SET cancel_requested_at = now() WHERE id = :id"), {"id": running}
    )
    rows.task(due_in=2)
    ears.performing.append(claim.id)
    ears.heard.clear()
    ears.heartbeat._sent_at = 0.0
    ears.heartbeat.tick()
    assert ears.of("cancelled") == [frozenset([claim.id])]
    assert any(0 < seconds <= 2 for seconds in ears.of("due"))


def test_a_worker_that_never_came_to_the_database_leaves_without_a_word(ears: Ears, rows: Rows) -> None:
    ears.heartbeat.leave()
    assert rows.value("SELECT count(*) FROM spoils_workers") == 0


def test_a_worker_that_leaves_ends_its_row(ears: Ears, rows: Rows) -> None:
    ears.heartbeat.tick()
    ears.heartbeat.leave()
    ((worker_id, ended),) = rows.all("SELECT id, ended_at IS NOT NULL FROM spoils_workers")
    assert (worker_id, ended) == (ears.worker_id, True)
    assert not ears.heartbeat.registered.is_set()


def test_a_former_session_that_still_holds_the_lock_is_ended_and_its_place_taken(
    ears: Ears, direct: Engine, rows: Rows
) -> None:
    with direct.connect() as former:
        assert statements.take_lock(former, ears.worker_id)
        with pytest.raises(LockStillHeld):
            ears.heartbeat.tick()
        assert not ears.heartbeat.registered.is_set()
        assert rows.value("SELECT count(*) FROM spoils_workers") == 0  # no row without its lock

        def taken() -> None:
            ears.heartbeat.tick()

        eventually(taken)
        assert ears.heartbeat.registered.is_set()
        former.invalidate()


def test_a_heartbeat_ends_the_outage_that_any_loop_has_met(
    ears: Ears, outage: Trouble, caplog: pytest.LogCaptureFixture
) -> None:
    outage.met(time.monotonic() - 60)
    ears.heartbeat.tick()
    assert [record.getMessage() for record in caplog.records] == [
        "Database available again after 1 error in 0 s"
    ]
    assert caplog.records[0].levelno == logging.WARNING


def test_a_worker_whose_row_was_ended_says_so_and_hears_nothing_more(ears: Ears, rows: Rows) -> None:
    ears.heartbeat.tick()
    rows.connection.execute(text("UPDATE spoils_workers SET ended_at = now()"))
    ears.heard.clear()
    ears.heartbeat._sent_at = 0.0
    ears.heartbeat.tick()
    assert [kind for kind, _ in ears.heard] == ["ended"]


def test_a_worker_takes_turns_at_a_suspect_only_with_those_that_claim_its_type(
    ears: Ears, rows: Rows
) -> None:
    for _ in range(30):
        rows.worker()
    rows.connection.execute(text("UPDATE spoils_workers SET task_types = '{elsewhere}'"))
    ears.heartbeat.tick()
    rows.task(crashes=2)
    ears.heartbeat._sent_at = 0.0
    ears.heartbeat.tick()
    assert [(one.suspect_due, one.make_room) for one in ears.of("orders")] == [(False, False), (True, True)]


def test_half_of_the_workers_at_most_perform_suspects_so_that_the_others_go_on(
    ears: Ears, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(5):
        rows.worker()
    ears.heartbeat.tick()
    rows.task(crashes=2)
    ears.heard.clear()
    for place in range(6):
        monkeypatch.setattr("spoils.worker.heartbeat.rank", lambda me, others, now, place=place: place)
        ears.heartbeat._sent_at = 0.0
        ears.heartbeat.tick()
    orders = [(one.suspect_due, one.make_room) for one in ears.of("orders")]
    assert orders == [(True, True), (True, False), (True, False), *[(False, False)] * 3]


def test_a_heartbeat_stores_what_jobs_report_and_keeps_it_over_a_lost_connection(
    ears: Ears, rows: Rows
) -> None:
    output = Output()
    output.report(1, 3, None)
    stored = "SELECT count(*) FROM spoils_outputs"

    def give(_most: int) -> list[OutputOf]:
        return [OutputOf(uuid4(), 1, output)]

    def give_and_lose_the_connection(_most: int) -> list[OutputOf]:
        ears.heartbeat._take_outputs = lambda _most: []
        statements.evict(rows.connection, ears.worker_id)
        return give(_most)

    ears.heartbeat._take_outputs = give
    ears.heartbeat.tick()
    assert rows.value(stored) == 1
    ears.heartbeat._take_outputs = give_and_lose_the_connection
    ears.heartbeat._sent_at = 0.0
    with pytest.raises(DBAPIError):
        ears.heartbeat.tick()
    assert rows.value(stored) == 1
    ears.heartbeat.tick()
    assert rows.value(stored) == 2
    ears.heartbeat._take_outputs = give
    ears.heartbeat.leave()
    assert rows.value(stored) == 3
