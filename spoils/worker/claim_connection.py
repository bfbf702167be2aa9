"""The connection on which the worker claims and listens, and the wait on it."""

import math
import os
import select
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NamedTuple

from sqlalchemy import Connection, Engine

from spoils.db.engine import is_direct
from spoils.queue.schedules import CHANNEL as SCHEDULES

TASKS = "spoils_tasks"
"""Tasks were inserted, or are due again."""
LIMITS = "spoils_limits"
"""Under limits: a key has a new task, or a free place."""
HOLDS = "spoils_holds"
"""A task type is held."""


class Notified(NamedTuple):
    """What notifications say: the seconds until tasks are due, keys of limits, and for how long task types are held."""

    due_in: list[float]
    keys: list[str]
    holds: dict[str, float]


class ClaimConnection:
    """Holds one connection for good. Only the dispatcher's thread uses it; any thread may `interrupt` its wait."""

    def __init__(self, engine: Engine, on_schedules_changed: Callable[[], None] = lambda: None) -> None:
        self._engine = engine
        self._on_schedules_changed = on_schedules_changed
        self._connection: Connection | None = None
        # A pipe, since a thread that waits for a socket hears no event.
        self._wake_reader, self._wake_writer = os.pipe()
        self._interrupted = False
        os.set_blocking(self._wake_reader, False)
        os.set_blocking(self._wake_writer, False)

    @property
    def connected(self) -> bool:
        """Whether there is a connection."""
        return self._connection is not None

    def get(self) -> Connection:
        """The connection; made, and listening, where there is none."""
        if self._connection is None:
            # Kept before it listens, so that a session that was changed is ended, and never lent to others.
            self._connection = self._engine.connect()
            if is_direct(self._connection):
                self._connection.exec_driver_sql(
                    "; ".join(f"LISTEN {name}" for name in (TASKS, LIMITS, HOLDS, SCHEDULES))
                )
        return self._connection

    def disconnect(self) -> None:
        """End the connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.invalidate()  # a session that listens must not be reused
            connection.close()

    def wait(self, seconds: float) -> None:
        """Return after `seconds`, or earlier when interrupted or notified."""
        # Not select(), which knows no file descriptor beyond 1023.
        sources = select.poll()
        sources.register(self._wake_reader, select.POLLIN)
        driver = self._driver
        if driver is not None:
            sources.register(driver.fileno(), select.POLLIN)
        for source, _ in sources.poll(seconds * 1000):
            if source == self._wake_reader:
                self._empty_pipe()
            else:
                driver.poll()

    def notifications(self) -> Notified:
        """The notifications that have arrived, also with the answer to a statement. Those of changed schedules
        are passed on.
        """
        driver = self._driver
        notified = Notified([], [], {})
        if driver is None or not driver.notifies:
            return notified
        notes = list(driver.notifies)
        driver.notifies.clear()
        if any(note.channel == SCHEDULES for note in notes):
            self._on_schedules_changed()
        for note in notes:
            if note.channel == TASKS:
                notified.due_in.append(_seconds(note.payload))
            elif note.channel == LIMITS:
                notified.keys.append(note.payload)
            elif note.channel == HOLDS:
                seconds, _, task_type = note.payload.partition(" ")
                notified.holds[task_type] = _seconds(seconds)
        return notified

    def interrupt(self) -> None:
        """End a wait now. Any thread may call it."""
        if not self._interrupted:  # a write would cost a busy worker more than this check
            self._interrupted = True
            os.write(self._wake_writer, b"!")

    def close(self) -> None:
        """End the connection and close the pipe; an interruption after this does nothing."""
        self.disconnect()
        self._interrupted = True
        os.close(self._wake_reader)
        os.close(self._wake_writer)

    @property
    def _driver(self) -> Any:
        return None if self._connection is None else self._connection.connection.driver_connection

    def _empty_pipe(self) -> None:
        with suppress(BlockingIOError):
            while os.read(self._wake_reader, 4096):
                pass
        # Last: an interruption before this writes nothing, and its cause is seen after this wait.
        self._interrupted = False


def _seconds(payload: str) -> float:
    """The seconds until a task is due; see the trigger `spoils_tasks_inserted`. Anything else means now."""
    try:
        seconds = float(payload)
    except ValueError:
        return 0.0
    return seconds if math.isfinite(seconds) else 0.0
