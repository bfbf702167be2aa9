"""Being there: the worker's row, its lock, its beat; and noticing who is not there any more."""

import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from uuid import UUID

from sqlalchemy import Connection, Engine

from spoils.db.engine import is_direct
from spoils.db.trouble import database_answers
from spoils.errors import DatabaseAway
from spoils.queue import presence
from spoils.worker.dispatcher import Orders
from spoils.worker.loop import Loop
from spoils.worker.turn import has_turn
from spoils.worker.watch import Watch

log = logging.getLogger("spoils.worker")

BEAT_SECONDS = 1.0
# After an outage whoever is back first sees the others silent: all must be back well before that is held against them.
LONGEST_ERROR_SECONDS = 1.0


class StillThere(DatabaseAway):
    """The lock of this worker's former session is still held: the server has not noticed yet that it is gone."""


class Presence:
    """Holds one connection for good. While it has none, `attending` is not set and nothing is claimed."""

    def __init__(
        self,
        *,
        engine: Engine,
        worker_id: UUID,
        release: str,
        threads: int,
        task_types: Sequence[str],
        kinds: Sequence[str],
        only_known: bool = False,
        running: Callable[[], int],
        performing: Callable[[], Sequence[UUID]],
        on_due: Callable[[float], None],
        on_dead: Callable[[Sequence[presence.Neighbour]], None],
        on_cancelled: Callable[[frozenset[UUID]], None],
        on_orders: Callable[[Orders], None],
        on_attending: Callable[[], None],
        on_ended: Callable[[], None],
    ) -> None:
        self._engine = engine
        self._worker_id = worker_id
        self._release = release
        self._threads = threads
        self._task_types = task_types
        self._kinds = kinds
        self._only_known = only_known
        self._running = running
        self._performing = performing
        self._on_due = on_due
        self._on_dead = on_dead
        self._on_cancelled = on_cancelled
        self._on_orders = on_orders
        self._on_attending = on_attending
        self._on_ended = on_ended
        self._paused: frozenset[str] = frozenset()
        self._watch = Watch()
        self._connection: Connection | None = None
        self._entered = False
        self._beat_at = 0.0
        self.attending = threading.Event()
        self.draining = False
        self.loop = Loop(name="presence", tick=self.tick, longest_error_seconds=LONGEST_ERROR_SECONDS)

    def tick(self) -> float:
        """Beat once; connect first where there is no connection. Returns the seconds until the next beat."""
        try:
            connection = self._connection or self._connect()
            left = self._beat_at + BEAT_SECONDS - time.monotonic()
            if left > 0:
                return left
            self._beat(connection)
        except Exception:
            self._disconnect()
            raise
        return BEAT_SECONDS

    def leave(self) -> None:
        """End the worker's row cleanly. The loop has been stopped."""
        try:
            if self._connection is not None:
                presence.leave(self._connection, self._worker_id)
        finally:
            self._disconnect()

    def _connect(self) -> Connection:
        self._connection = connection = self._engine.connect()
        direct = is_direct(connection)
        # Only the session that holds the lock speaks for this worker. It takes it before the row appears: to others a
        # row whose lock is free is that of a worker that may have died.
        if direct and not presence.take_lock(connection, self._worker_id):
            # Behind a black hole the server may never notice that our former session has gone.
            presence.evict(connection, self._worker_id)
            raise StillThere()
        if not self._entered:
            presence.enter(connection, self._row(direct))
            self._entered = True
        self._beat_at = 0.0
        self._beat(connection)
        self.attending.set()
        self._on_attending()
        self._on_due(0.0)  # what fell due while nothing was claimed
        return connection

    def _disconnect(self) -> None:
        self.attending.clear()
        self._watch.forget()
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.invalidate()  # a session with a lock is nobody else's
            connection.close()

    def _beat(self, connection: Connection) -> None:
        pulse = presence.beat(
            connection,
            worker_id=self._worker_id,
            rss=_resident_bytes(),
            running=self._running(),
            performing=self._performing(),
            draining=self.draining,
            # What is paused falls due for nobody, and a suspect of it must not hold the others up.
            task_types=[name for name in self._task_types if name not in self._paused],
            kinds=self._kinds,
            only_known=self._only_known,
        )
        self._beat_at = time.monotonic()
        database_answers()
        if not pulse.alive:
            self._on_ended()
            return
        self._paused = pulse.paused
        rivals = [one.id for one in pulse.neighbours if one.claims_suspect]
        make_room = pulse.suspect_due and has_turn(self._worker_id, rivals, time.time())
        self._on_orders(Orders(pulse.draining, pulse.paused, pulse.suspect_due, make_room))
        if pulse.next_due_seconds is not None:
            self._on_due(pulse.next_due_seconds)
        if pulse.cancelled:
            self._on_cancelled(pulse.cancelled)
        if dead := self._watch.observe(pulse, self._beat_at):
            self._on_dead(dead)

    def _row(self, direct: bool) -> dict[str, object]:
        return {
            "id": self._worker_id,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "release": self._release,
            "task_types": list(self._task_types),
            "threads": self._threads,
            "lock_key": presence.lock_key(self._worker_id) if direct else None,
            "rss": _resident_bytes(),
        }


def _resident_bytes() -> int | None:
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return None  # not on Linux
    return pages * os.sysconf("SC_PAGE_SIZE")
