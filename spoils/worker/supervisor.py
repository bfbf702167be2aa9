"""A worker process: its rooms, the order in which they start, and the order in which they stop."""

import logging
import os
import select
import signal
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import FrameType
from uuid import UUID, uuid4

from sqlalchemy import Engine

from spoils.config import Settings
from spoils.db.engine import make_engine
from spoils.job.registry import Registry
from spoils.models import db
from spoils.outcome import Ending, Interrupted, Verdict
from spoils.queue.reach import COMMON
from spoils.queue.settle import Settlement
from spoils.worker.application import OWN_CONNECTIONS, application_name, create_worker_app
from spoils.worker.attempt import Attempt
from spoils.worker.dispatcher import Dispatcher
from spoils.worker.in_flight import InFlight, Token
from spoils.worker.maintenance import Maintenance
from spoils.worker.performer import Performer
from spoils.worker.pool import Pool
from spoils.worker.presence import Presence
from spoils.worker.scheduler import Scheduler
from spoils.worker.settler import Settler
from spoils.worker.timekeeper import Timekeeper
from spoils.worker.watchdog import Watchdog

log = logging.getLogger("spoils.worker")

LOCK_TIMEOUT_MS = 5_000
"""How long a statement of the worker's own waits for somebody's lock before it fails and is tried again.

Well below what the watchdog bears: an operator's open transaction must not end one worker after the other.
"""
END_SECONDS = 2.0
"""How long the process may take to end once the jobs have ended or were released, whatever hangs."""
SETTLE_SECONDS = 1.5
"""How much of that the last outcomes may take to be written."""


class Supervisor:
    """One worker process. `run()` blocks until a signal, or until its row was ended by a rescue."""

    def __init__(
        self, *, settings: Settings, registry: Registry, database_url: str, parent: int | None = None
    ) -> None:
        """`parent` is a file descriptor that ends when the parent process does, for one that has a parent."""
        self.worker_id: UUID = uuid4()
        app = create_worker_app(settings, database_url=database_url, worker_id=self.worker_id)
        self._settings = settings
        # A pipe, since a signal handler may not touch a lock that the interrupted code could hold.
        self._ear, self._mouth = os.pipe()
        self._until = [self._ear] if parent is None else [self._ear, parent]
        self._ended = False
        self._crippled = False
        self._in_flight = InFlight()
        self._stopping = threading.Event()
        self._progress = threading.Event()
        task_types = _task_types(settings, registry)
        kinds = [job_class.__name__ for job_class in registry if job_class.task_type in task_types]
        with app.app_context():
            sessions: Engine = db.engine
        self._engine = make_engine(
            database_url,
            connections=OWN_CONNECTIONS,
            application_name=application_name(self.worker_id),
            autocommit=True,
            lock_timeout_ms=LOCK_TIMEOUT_MS,
        )

        self.settler = Settler(
            engine=self._engine,
            worker_id=self.worker_id,
            release=settings.release,
            on_settled=self._settled,
        )
        self.performer = Performer(
            app=app,
            engine=sessions,
            registry=registry,
            worker_id=self.worker_id,
            release=settings.release,
            stopping=self._stopping,
            hand_over=self.settler.hand_over,
            drop=lambda token: self._settled([token]),
            on_deadline=lambda: self.timekeeper.loop.wake(),
        )
        self.timekeeper = Timekeeper(running=self.performer.running, give_up=self._give_up)
        self.pool = Pool(
            threads=settings.worker_threads,
            perform=self.performer.perform,
            on_idle=lambda: self.dispatcher.loop.wake(),
        )
        self.presence = Presence(
            engine=self._engine,
            worker_id=self.worker_id,
            release=settings.release,
            threads=settings.worker_threads,
            task_types=task_types,
            kinds=kinds,
            running=lambda: self.pool.busy,
            on_due=lambda seconds: self.dispatcher.due_in(seconds),
            on_suspect=lambda: self.dispatcher.suspect_due(),
            on_cancelled=self.performer.ask_to_stop,
            on_ended=self._declared_dead,
        )
        self.dispatcher = Dispatcher(
            engine=self._engine,
            worker_id=self.worker_id,
            task_types=task_types,
            kinds=kinds,
            pool=self.pool,
            in_flight=self._in_flight,
            attending=self.presence.attending,
        )
        self.scheduler = Scheduler(
            engine=self._engine, jobs=list(registry), default_zone=settings.cron_timezone
        )
        self.maintenance = Maintenance(
            engine=self._engine, foreign_claim_timeout=settings.foreign_claim_timeout
        )
        self._task_types = task_types
        self.watchdog = Watchdog(
            loops=[
                room.loop
                for room in (self.presence, self.settler, self.dispatcher, self.scheduler, self.maintenance)
            ]
        )

    def run(self) -> int:
        """Start, work, stop. Returns the process's exit code."""
        # Python runs a handler only once the main thread wakes: a signal that another thread took, or that came just
        # before the select, would never be heard. The wake-up descriptor is written in the moment of the signal.
        os.set_blocking(self._mouth, False)
        signal.set_wakeup_fd(self._mouth, warn_on_full_buffer=False)
        signal.signal(signal.SIGTERM, self._on_signal)
        signal.signal(signal.SIGINT, self._on_signal)
        self.start()
        select.select(self._until, [], [])
        self.stop()
        return 1 if self._ended or self._crippled else 0

    def start(self) -> None:
        """Presence first: nothing is claimed before the worker can be seen to live."""
        settings = self._settings
        log.info(
            "Worker pool started: %d threads, task types %s, %d database connections at most",
            settings.worker_threads,
            ", ".join(self._task_types),
            settings.worker_connections,
            extra={"action": "start", "worker_id": self.worker_id},
        )
        self.presence.loop.start()
        self.settler.loop.start()
        self.pool.start()
        self.dispatcher.loop.start()
        self.scheduler.loop.start()
        self.maintenance.loop.start()
        self.timekeeper.loop.start()
        self.watchdog.start()

    def ask_to_stop(self) -> None:
        """Let `run` go on to its stop. Repeated calls change nothing."""
        with suppress(BlockingIOError):  # a full pipe wakes as well
            os.write(self._mouth, b"!")

    def stop(self) -> None:
        """The order matters: each room outlives those that need it."""
        deadline = time.monotonic() + self._settings.shutdown_seconds
        log.info(
            "Worker pool stopping: %d jobs in hand",
            len(self._in_flight),
            extra={"action": "stop", "worker_id": self.worker_id},
        )
        self.presence.draining = True
        self._stopping.set()
        # Each wait is bounded, since a database call may hang for as long as nobody tells that the network is gone.
        self.dispatcher.loop.stop(1.0)  # 1. nothing new is claimed
        self.scheduler.loop.stop(0.5)
        self.maintenance.loop.stop(0.5)
        self._drain(deadline)  # 2. what can end, ends
        end = time.monotonic() + END_SECONDS
        self._release()  # 3. the rest goes back
        self._wait_for(
            lambda: self.settler.empty and not len(self._in_flight), time.monotonic() + SETTLE_SECONDS
        )
        self.pool.stop()
        for room in (self.timekeeper, self.settler):
            room.loop.stop(max(0.1, end - time.monotonic()))
        # 4. the beat goes on until nothing is held
        if self.presence.loop.stop(max(0.1, end - time.monotonic())):
            self._leave()
        self.watchdog.stop()
        self._engine.dispose()
        log.info("Worker pool stopped", extra={"action": "stop", "worker_id": self.worker_id})

    def _drain(self, deadline: float) -> None:
        if not self._ended:
            self._wait_for(lambda: not len(self._in_flight), deadline)

    def _release(self) -> None:
        for claim in self._in_flight.claims():
            # In a thread, for a cancellation makes a connection of its own, which may hang.
            threading.Thread(target=self.performer.interrupt, args=[claim.token], daemon=True).start()
            log.warning(
                "Released: it did not end in time",
                extra={"action": "release", "task_id": claim.id, "task_type": claim.task_type},
            )
            self.settler.hand_over(
                Settlement(claim.id, claim.attempts, Verdict(Ending.RELEASED), claim.claimed_at, 0)
            )

    def _leave(self) -> None:
        try:
            if not self._ended:
                self.presence.leave()
        except Exception as exc:  # noqa: BLE001 - the row is then ended by a rescue
            log.warning("Leaving failed: %s", exc, extra={"action": "stop", "worker_id": self.worker_id})

    def _wait_for(self, done: Callable[[], bool], deadline: float) -> None:
        while not done() and time.monotonic() < deadline:
            self._progress.wait(0.05)
            self._progress.clear()

    def _settled(self, tokens: Sequence[Token]) -> None:
        for token in tokens:
            self._in_flight.drop(token)
        self._progress.set()
        self.dispatcher.loop.wake()

    def _give_up(self, attempt: Attempt, error: Interrupted) -> None:
        log.error(
            "Giving up a thread: its job does not end though interrupted",
            extra={"action": "interrupt", "task_id": attempt.task_id},
        )
        self.performer.give_up(attempt, error)
        self.pool.replace(attempt.thread)
        if self.pool.lost * 2 >= self._settings.worker_threads and self.pool.lost > 1:
            log.error("Half of the threads are lost: this process drains and ends", extra={"action": "stop"})
            self._crippled = True
            self.ask_to_stop()

    def _declared_dead(self) -> None:
        log.error(
            "This worker was taken for dead and its tasks were given to others: it ends now",
            extra={"action": "stop", "worker_id": self.worker_id},
        )
        self._ended = True
        self.presence.attending.clear()
        self.ask_to_stop()

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self.ask_to_stop()


def _task_types(settings: Settings, registry: Registry) -> list[str]:
    known = registry.task_types()
    wanted = list(settings.worker_task_types or known)
    return wanted if COMMON in wanted or settings.worker_task_types else [*wanted, COMMON]
