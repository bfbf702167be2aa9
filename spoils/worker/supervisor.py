"""A worker process: its rooms, the order in which they start, and the order in which they stop."""

import logging
import os
import select
import signal
import threading
import time
from collections.abc import Callable, Sequence
from types import FrameType
from uuid import UUID, uuid4

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from spoils.config import Settings
from spoils.db.engine import make_engine
from spoils.job.registry import Registry
from spoils.models import db
from spoils.outcome import Ending, Interrupted, Verdict
from spoils.queue.claim import Claim
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
from spoils.worker.rescuer import Rescuer
from spoils.worker.scheduler import Scheduler
from spoils.worker.settler import Settler
from spoils.worker.timekeeper import Timekeeper
from spoils.worker.watchdog import Watchdog

log = logging.getLogger("spoils.worker")

LOCK_TIMEOUT_MS = 5_000
FORCE_SECONDS = 2.0
SETTLE_SECONDS = 1.5
"""How long the last outcomes may take to be written once the jobs have ended."""


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
            on_room=lambda: self.dispatcher.loop.wake(),
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
            on_suspect=lambda due: self.dispatcher.suspect_due(due),
            on_dead=lambda dead: self.rescuer.found_dead(dead),
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
        # Three connections serve the claim, the settling and the housework: the last may never take more than one.
        turn = threading.Lock()
        self.rescuer = Rescuer(engine=self._engine, turn=turn)
        self.scheduler = Scheduler(
            engine=self._engine, jobs=list(registry), default_zone=settings.cron_timezone, turn=turn
        )
        self.maintenance = Maintenance(
            engine=self._engine, foreign_claim_timeout=settings.foreign_claim_timeout, turn=turn
        )
        self._task_types = task_types
        self.watchdog = Watchdog(loops=[self.presence.loop, self.settler.loop, self.dispatcher.loop])

    def run(self) -> int:
        """Start, work, stop. Returns the process's exit code."""
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
        self.rescuer.loop.start()
        self.timekeeper.loop.start()
        self.watchdog.start()

    def ask_to_stop(self) -> None:
        """Let `run` go on to its stop. Repeated calls change nothing."""
        os.write(self._mouth, b"!")

    def stop(self) -> None:
        """The order matters: each room outlives those that need it."""
        deadline = time.monotonic() + self._settings.shutdown_seconds
        log.info(
            "Worker pool stopping: %d jobs in hand",
            len(self._in_flight),
            extra={"action": "stop", "worker_id": self.worker_id},
        )
        self._end_by_force(deadline + FORCE_SECONDS)
        self.presence.draining = True
        self._stopping.set()
        self.dispatcher.loop.stop(1.0)  # 1. nothing new is claimed
        for room in (self.scheduler, self.maintenance, self.rescuer):
            room.loop.stop(0.2)
        self._give_back_unstarted()
        self._drain(deadline)  # 2. what can end, ends
        self._release()  # 3. the rest goes back
        self._wait_for(
            lambda: self.settler.empty and not len(self._in_flight), time.monotonic() + SETTLE_SECONDS
        )
        self.pool.stop()
        self.timekeeper.loop.stop(0.2)
        self.settler.loop.stop(0.5)
        if self.presence.loop.stop(0.5):  # 4. the beat goes on until nothing is held
            self._leave()
        self.watchdog.stop()
        self._engine.dispose()
        log.info("Worker pool stopped", extra={"action": "stop", "worker_id": self.worker_id})

    def _end_by_force(self, moment: float) -> None:
        """End the process at `moment` whatever hangs: a database call, or a thread that a job has left behind."""

        def end() -> None:
            time.sleep(max(0.0, moment - time.monotonic()))
            log.critical("Stopping took too long: this process ends now", extra={"action": "stop"})
            os._exit(1)

        threading.Thread(target=end, name="force", daemon=True).start()

    def _give_back_unstarted(self) -> None:
        try:
            self.dispatcher.give_back_unstarted()
        except SQLAlchemyError as exc:
            log.warning("Giving back failed: %s", exc, extra={"action": "release"})

    def _drain(self, deadline: float) -> None:
        if not self._ended:
            self._wait_for(lambda: not len(self._in_flight), deadline)

    def _release(self) -> None:
        held = self._in_flight.claims()
        for claim in held:
            log.warning(
                "Released: it did not end in time",
                extra={"action": "release", "task_id": claim.id, "task_type": claim.task_type},
            )
            self.settler.hand_over(
                Settlement(claim.id, claim.attempts, Verdict(Ending.RELEASED), claim.claimed_at, 0)
            )
        # Only now: what the interruption makes of the job comes second, and the settler keeps the first.
        for claim in held:
            # In a thread: a cancellation makes a connection of its own, which may hang.
            threading.Thread(target=self._interrupt, args=[claim], daemon=True).start()

    def _interrupt(self, claim: Claim) -> None:
        try:
            self.performer.interrupt(claim.token)
        except Exception as exc:  # noqa: BLE001 - the session's end does it too, when the process ends
            log.info(
                "The session could not be interrupted: %s",
                exc,
                extra={"action": "release", "task_id": claim.id},
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
        self._in_flight.drop(tokens)
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
