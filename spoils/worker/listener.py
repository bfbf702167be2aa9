"""Waiting on the claiming connection: for a notification, for a moment, or for somebody who interrupts."""

import math
import os
import select
from collections.abc import Callable
from contextlib import suppress
from typing import Any

CHANNEL = "spoils_tasks"
_KEY_LENGTH = 36


class Listener:
    """Turns notifications on a psycopg2 connection into calls of `on_notify(seconds until due, the one task)`."""

    def __init__(self, *, on_notify: Callable[[float, str | None], None]) -> None:
        self._on_notify = on_notify
        self._connection: Any = None
        # A pipe, since a thread that sleeps in select() hears no event.
        self._ear, self._mouth = os.pipe()
        self._interrupted = False
        self.woken = False
        """Whether the last wait was interrupted."""
        os.set_blocking(self._ear, False)
        os.set_blocking(self._mouth, False)
        self._sources = self._watched()

    def attach(self, connection: Any) -> None:
        """Listen on this psycopg2 connection from now on; None only waits."""
        self._connection = connection
        self._sources = self._watched()
        if connection is not None:
            with connection.cursor() as cursor:
                cursor.execute(f"LISTEN {CHANNEL}")

    @property
    def attached(self) -> bool:
        """Whether there is a connection to hear from."""
        return self._connection is not None

    def wait(self, seconds: float) -> None:
        """Return after `seconds`, or earlier when interrupted or notified, which is passed on."""
        self.woken = False
        for source, _ in self._sources.poll(seconds * 1000):
            if source == self._ear:
                self.woken = True
                self._empty_pipe()
            else:
                self._connection.poll()
        self.pass_on()

    def pass_on(self) -> None:
        """Pass on what has arrived, also with the answer to another statement."""
        notes = self._connection.notifies if self._connection is not None else None
        if not notes:
            return
        seconds, named = _read(notes.pop().payload)
        while notes:
            seconds, named = min(seconds, _read(notes.pop().payload)[0]), None
        self._on_notify(seconds, named)

    def interrupt(self) -> None:
        """End a wait now. Any thread may call it."""
        if not self._interrupted:  # writing would cost a busy worker more than this look
            self._interrupted = True
            os.write(self._mouth, b"!")

    def close(self) -> None:
        """Give the pipe back; an interruption after this does nothing."""
        self._interrupted = True
        os.close(self._ear)
        os.close(self._mouth)

    def _watched(self) -> select.poll:
        # Not select(), which knows no file descriptor beyond 1023.
        sources = select.poll()
        sources.register(self._ear, select.POLLIN)
        if self._connection is not None:
            sources.register(self._connection.fileno(), select.POLLIN)
        return sources

    def _empty_pipe(self) -> None:
        with suppress(BlockingIOError):
            while os.read(self._ear, 4096):
                pass
        # Last: who interrupts before this writes nothing, and what it has changed is looked at after this wait.
        self._interrupted = False


def _read(payload: str) -> tuple[float, str | None]:
    """The seconds, and the task where there is only one; see the trigger `spoils_tasks_inserted`."""
    head, _, named = payload.partition(" ")
    try:
        seconds = float(head)
    except ValueError:
        seconds = math.nan
    if not math.isfinite(seconds) or len(named) not in (0, _KEY_LENGTH):
        return 0.0, None  # somebody else's NOTIFY on our channel means: look at once
    return seconds, named or None
