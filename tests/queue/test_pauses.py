"""Pauses and the request to stop claiming: who hears of them, and what is then left alone."""

from uuid import uuid4

from sqlalchemy import Connection, Engine

from spoils.models import PauseKind
from spoils.queue import pauses, worker_rows
from tests.queue.test_worker_rows import beat
from tests.rows import Rows


def test_a_pause_is_made_once_and_ended_once(connection: Connection) -> None:
    assert pauses.pause(connection, PauseKind.TASK_TYPE, "sample", by="admin")
    assert not pauses.pause(connection, PauseKind.TASK_TYPE, "sample", by="viewer")
    assert pauses.pause(connection, PauseKind.SCHEDULE, "sample", by="admin")
    found = pauses.paused(connection, PauseKind.TASK_TYPE)
    assert [(name, pause.paused_by) for name, pause in found.items()] == [("sample", "admin")]
    assert pauses.resume(connection, PauseKind.TASK_TYPE, "sample")
    assert not pauses.resume(connection, PauseKind.TASK_TYPE, "sample")
    assert not pauses.paused(connection, PauseKind.TASK_TYPE)
    assert pauses.paused(connection, PauseKind.SCHEDULE)


def test_what_is_paused_comes_by_name(connection: Connection) -> None:
    for name in ("c", "a", "b"):
        pauses.pause(connection, PauseKind.TASK_TYPE, name, by="admin")
    assert list(pauses.paused(connection, PauseKind.TASK_TYPE)) == ["a", "b", "c"]


def test_a_beat_hears_of_paused_types(connection: Connection, rows: Rows) -> None:
    me = rows.worker()
    assert beat(connection, me).paused == frozenset()
    pauses.pause(connection, PauseKind.TASK_TYPE, "sample", by="admin")
    pauses.pause(connection, PauseKind.SCHEDULE, "NightlyJob", by="admin")
    assert beat(connection, me).paused == {"sample"}


def test_a_worker_that_was_asked_to_stop_claiming_stays_asked(
    connection: Connection, engine: Engine, rows: Rows
) -> None:
    me, other = rows.worker(), rows.worker()
    assert not beat(connection, me).draining
    assert worker_rows.stop_claiming(connection, me)
    # Its own beats say that it does not stop of itself: that takes nothing back.
    assert beat(connection, me).draining
    assert beat(connection, me).draining
    assert not beat(connection, other).draining
    assert worker_rows.claim_again(connection, me)
    assert not beat(connection, me).draining


def test_who_has_ended_is_asked_nothing(connection: Connection, rows: Rows) -> None:
    assert not worker_rows.stop_claiming(connection, rows.worker(ended=True))
    assert not worker_rows.claim_again(connection, uuid4())
