"""The worker's row, lock and heartbeat, and what the heartbeat learns: orders, cancels, stopped workers."""

import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from uuid import UUID

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from spoils.db.engine import is_direct
from spoils.db.trouble import database_answers
from spoils.errors import DatabaseAway
from spoils.queue import worker_rows
from spoils.queue.outputs import OutputOf, write_outputs
from spoils.worker.dispatcher import Orders
from spoils.worker.liveness import Liveness
from spoils.worker.loop import Loop
from spoils.worker.rendezvous import rank

log = logging.getLogger("spoils.worker")

HEARTBEAT_SECONDS = 1.0
# After an outage the first worker to return sees the others unresponsive; they must return before they count as dead.
LONGEST_ERROR_SECONDS = 1.0
MOST_OUTPUTS = 100
"""Of how many jobs a heartbeat stores the progress and log lines; those of others go with the next ones."""


class LockStillHeld(DatabaseAway):
    """The server still holds the lock of this worker's previous session, which it has not noticed to be gone."""


class Heartbeat:
    """Holds one connection for good. While it has none, `registered` is not set, and nothing is claimed."""

    def __init__(
        self,
        *,
        engine: Engine,
        worker_id: UUID,
        release: str,
        capacity: int,
        task_types: Sequence[str],
        job_classes: Mapping[str, str],
        running: Callable[[], int],
        performing: Callable[[], Sequence[UUID]],
        on_due: Callable[[float], None],
        on_dead: Callable[[Sequence[worker_rows.OtherWorker]], None],
        on_cancelled: Callable[[frozenset[UUID]], None],
        on_orders: Callable[[Orders], None],
        take_outputs: Callable[[int], Sequence[OutputOf]] = lambda _most: (),
        before_entering: Callable[[], None] = lambda: None,
        on_registered: Callable[[], None],
        on_ended: Callable[[], None],
    ) -> None:
        self._engine = engine
        self._worker_id = worker_id
        self._release = release
        self._capacity = capacity
        self._task_types = task_types
        self._job_classes = job_classes
        self._running = running
        self._performing = performing
        self._on_due = on_due
        self._on_dead = on_dead
        self._on_cancelled = on_cancelled
        self._on_orders = on_orders
        self._take_outputs = take_outputs
        self._outputs: Sequence[OutputOf] = ()
        self._before_entering = before_entering
        self._on_registered = on_registered
        self._on_ended = on_ended
        self._paused: frozenset[str] = frozenset()
        self._liveness = Liveness()
        self._connection: Connection | None = None
        self._entered = False
        self._sent_at = 0.0
        self.registered = threading.Event()
        self.draining = False
        self.others_differ = False  # whether a live worker of another release has other job classes
        self.loop = Loop(name="heartbeat", tick=self.tick, longest_error_seconds=LONGEST_ERROR_SECONDS)

    def tick(self) -> float:
        """Send one heartbeat; connect first if necessary. Returns the seconds until the next one."""
        try:
            connection = self._connection or self._connect()
            left = self._sent_at + HEARTBEAT_SECONDS - time.monotonic()
            if left > 0:
                return left
            self._send(connection)
        except Exception:
            self._disconnect()
            raise
        return HEARTBEAT_SECONDS

    def leave(self, how: str = "clean") -> None:
        """End the worker's row: `how` is clean or recycled. The loop has been stopped."""
        try:
            if self._connection is not None:
                self._write_outputs(self._connection)
                worker_rows.leave(self._connection, self._worker_id, how)
        finally:
            self._disconnect()

    def _connect(self) -> Connection:
        self._connection = connection = self._engine.connect()
        direct = is_direct(connection)
        # The lock comes before the row: others take a row whose lock is free for that of a worker that may have died.
        if direct and not worker_rows.take_lock(connection, self._worker_id):
            # After a network failure the server may never notice that our previous session is gone.
            worker_rows.evict(connection, self._worker_id)
            raise LockStillHeld()
        if not self._entered:
            self._before_entering()
            worker_rows.enter(connection, self._row(direct))
            self._entered = True
        self._sent_at = 0.0
        self._send(connection)
        self.registered.set()
        self._on_registered()
        self._on_due(0.0)  # jobs that fell due while nothing was claimed
        return connection

    def _disconnect(self) -> None:
        self.registered.clear()
        self._liveness.forget()
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.invalidate()  # a session that holds a lock must not be reused
            connection.close()

    def _send(self, connection: Connection) -> None:
        result = worker_rows.heartbeat(
            connection,
            worker_id=self._worker_id,
            rss=resident_bytes(),
            running=self._running(),
            performing=self._performing(),
            draining=self.draining,
            # Jobs of a paused type fall due for nobody, and a suspect of it must not delay the others.
            task_types=[name for name in self._task_types if name not in self._paused],
            kinds=list(self._job_classes),
        )
        self._sent_at = time.monotonic()
        database_answers()
        if not result.alive:
            self._on_ended()
            return
        self._paused = result.paused
        self.others_differ = result.others_differ
        rivals = [one.id for one in result.others if one.claims_suspect]
        place = rank(self._worker_id, rivals, time.time())
        # Half of the workers at most: if all ran suspects, each alone, every other job would wait for them.
        suspect_due = result.suspect_due and place <= len(rivals) // 2
        makes_room = suspect_due and place == 0
        self._on_orders(Orders(result.draining, result.paused, suspect_due, makes_room, result.limited))
        if result.next_due_seconds is not None:
            self._on_due(result.next_due_seconds)
        if result.cancelled:
            self._on_cancelled(result.cancelled)
        if dead := self._liveness.observe(result, self._sent_at):
            self._on_dead(dead)
        self._write_outputs(connection)

    def _write_outputs(self, connection: Connection) -> None:
        """Store what jobs report. What a lost connection prevented is stored with the next one; what the database
        refuses is given up, since the heartbeat matters more.
        """
        self._outputs = self._outputs or self._take_outputs(MOST_OUTPUTS)
        if not self._outputs:
            return
        try:
            write_outputs(connection, self._outputs)
        except DBAPIError as exc:
            if exc.connection_invalidated:
                raise
            log.warning(
                "Failed to store the progress and log lines of %d jobs",
                len(self._outputs),
                exc_info=True,
                extra={"action": "output"},
            )
        self._outputs = ()

    def _row(self, direct: bool) -> dict[str, object]:
        return {
            "id": self._worker_id,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "release": self._release,
            "task_types": list(self._task_types),
            "job_classes": dict(self._job_classes),
            "threads": self._capacity,
            "lock_key": worker_rows.lock_key(self._worker_id) if direct else None,
            "rss": resident_bytes(),
        }


def resident_bytes() -> int | None:
    """The memory of this process; None where it is not known."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return None  # not on Linux
    return pages * os.sysconf("SC_PAGE_SIZE")
