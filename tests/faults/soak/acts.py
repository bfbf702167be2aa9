"""What a soak does to its workers and their database, and how long until all is well again."""

import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from sqlalchemy.exc import DBAPIError

from spoils.db import embedded_server
from tests.faults.proxy import Proxy
from tests.faults.soak.stage import GRACE_SECONDS, Stage
from tests.faults.workers import claimed_again, held_by, listening, sessions_of, workers_live_on
from tests.rows import Rows
from tests.support import eventually

ENQUEUE = r"EXECUTE spoils_enqueue"
CLAIM = r"^EXECUTE spoils_claim"
SETTLE = r"\bsettled AS|EXECUTE spoils_finish"
COMMIT = r"COMMIT$"
ENDS_SECONDS = GRACE_SECONDS + 6
SOON_KILL = "kill soon after an outage"
"""When the others may not have seen its heartbeat move since they lost their own connections."""
SOON_SECONDS = 10.0
LATE_SECONDS = 5.0
"""A later rerun after a kill is reported with what it waited for."""
LATE = """
SELECT extract(epoch FROM max(worker.ended_at) - :since)::float,
       extract(epoch FROM min(audit.at) FILTER (WHERE was = 'in_progress') - :since)::float,
       extract(epoch FROM min(audit.at) FILTER (WHERE becomes = 'in_progress') - :since)::float,
       min(audit.crashes) FILTER (WHERE becomes = 'in_progress')
FROM audit LEFT JOIN spoils_workers AS worker ON worker.id = audit.owner AND audit.was = 'in_progress'
WHERE audit.task_id = ANY(:ids) AND audit.at > :since
GROUP BY audit.task_id
ORDER BY 3
"""
WELL_SECONDS = 10.0
"""How soon all must work again once the database does."""


class Acts:
    """Each method does one round of a fault, waits until it is over, and counts and measures it."""

    def __init__(self, stage: Stage, *, dice: random.Random, at_once: int) -> None:
        self._stage = stage
        self._dice = dice
        self._at_once = at_once
        self.spared: int | None = None
        """A process that no fault is aimed at."""
        self.done: Counter[str] = Counter()
        self.reruns: dict[str, list[float]] = {"kill": [], SOON_KILL: [], "freeze": []}
        self.late: list[str] = []
        """What each rerun later than LATE_SECONDS waited for."""
        self._cut_off_at = float("-inf")
        self.well_again: dict[str, list[float]] = {}
        self.codes: dict[str, Counter[int]] = {"SIGTERM": Counter(), "SIGSTOP": Counter()}

    def kill(self) -> None:
        """Kill workers while jobs are in flight; measure how long until what they held runs again."""
        self._stage.await_in_flight(self._stage.plan.in_flight)
        with self._stage.rows() as rows:
            pids = self._choose()
            fault = SOON_KILL if time.monotonic() < self._cut_off_at + SOON_SECONDS else "kill"
            killed_at = rows.value("SELECT clock_timestamp()")
            for pid in pids:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            # What they held when they were dead, and not what they settled in the last moment.
            eventually(lambda: _gone(rows, pids))
            held = [task_id for pid in pids for task_id in held_by(rows, pid)]
            waits = claimed_again(rows, held, killed_at)
            self.reruns[fault] += waits.values()
            late = [task_id for task_id, seconds in waits.items() if seconds > LATE_SECONDS]
            for declared, released, claimed, crashes in rows.all(LATE, ids=late, since=killed_at):
                self.late.append(
                    f"{fault}: declared dead after {declared or 0:.1f} s, released after {released:.1f} s, "
                    f"claimed after {claimed:.1f} s, crashes {crashes}"
                )
        self.done["SIGKILL"] += len(pids)

    def term(self) -> None:
        """SIGTERM to workers, one to five times each: every one of them exits with 0."""
        pids = self._choose()
        for pid in pids:
            for _ in range(self._dice.randint(1, 5)):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGTERM)
                threading.Event().wait(self._dice.uniform(0, 0.1))
        for pid in pids:
            code = self._stage.crew.code_of(pid, ENDS_SECONDS * 3)
            eventually(lambda pid=pid: _has_ended(pid), ENDS_SECONDS)
            self.codes["SIGTERM"][-1 if code is None else code] += 1
        self.done["SIGTERM"] += len(pids)

    def freeze(self) -> None:
        """SIGSTOP to workers until they are declared dead, then SIGCONT: they end, and what they say is refused."""
        self._stage.await_in_flight(self._stage.plan.in_flight)
        pids = self._choose()
        with self._stage.rows() as rows:
            for pid in pids:
                os.kill(pid, signal.SIGSTOP)
            try:
                stopped_at = rows.value("SELECT clock_timestamp()")
                held = [task_id for pid in pids for task_id in held_by(rows, pid)]
                self.reruns["freeze"] += claimed_again(rows, held, stopped_at, timeout=90).values()
                eventually(lambda: _declared_dead(rows, pids), 60)
            finally:
                for pid in pids:
                    os.kill(pid, signal.SIGCONT)
        for pid in pids:
            code = self._stage.crew.code_of(pid, 60)
            eventually(lambda pid=pid: _has_ended(pid), 60)
            self.codes["SIGSTOP"][-1 if code is None else code] += 1
        self.done["SIGSTOP"] += len(pids)

    def restart(self) -> None:
        """Shoot the database and start it again up to 8 s later; nobody may be declared dead by that."""
        before = self._mistaken()
        embedded_server.halt(self._stage.files, mode="immediate")
        threading.Event().wait(self._dice.uniform(0, 8))
        self._stage.postgres.start()
        self._await_well("restart", time.monotonic())
        self._cut_off_at = time.monotonic()
        with self._stage.rows() as rows:
            workers_live_on(rows)
        assert self._mistaken() == before, (
            f"a healthy worker was declared dead:\n{self._stage.crew.output[-3000:]}"
        )
        self.done["restart"] += 1

    def end_sessions(self) -> None:
        """End every database session of the workers."""
        with self._stage.rows() as rows:
            ended = rows.value(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name LIKE 'spoils:%'"
            )
        assert ended
        self._await_well("all sessions ended", time.monotonic())
        self._cut_off_at = time.monotonic()
        self.done["all sessions ended"] += 1

    def end_listener(self) -> None:
        """End the session in which one worker listens and claims."""
        with self._stage.rows() as rows:
            eventually(lambda: listening(rows)[0])
            victim = self._dice.choice(listening(rows))
            assert rows.value("SELECT pg_terminate_backend(:pid)", pid=victim)
            self._await_well("listener ended", time.monotonic())
            assert victim not in listening(rows)
        self.done["listener ended"] += 1

    def lose_replies(self) -> None:
        """Lose the answers to an enqueue, a claim, a settle and the commit of a job's own transaction."""
        workers, clients = self._stage.proxy, self._stage.client_proxy
        assert workers
        assert clients
        losses: dict[str, tuple[Proxy, str]] = {
            "enqueue": (clients, ENQUEUE),
            "claim": (workers, CLAIM),
            "settle": (workers, SETTLE),
            "job's commit": (workers, COMMIT),
        }
        for name, (proxy, statement) in losses.items():
            proxy.lose_reply_to(statement).await_meeting(60)
            self._await_well(f"answer to {name} lost", time.monotonic())
            self.done[f"answer to {name} lost"] += 1

    def _choose(self) -> list[int]:
        """Workers at work, but for one at least."""
        self._stage.await_workers(max(2, self._stage.plan.processes - 1))
        pids = [pid for pid in self._stage.pids() if pid != self.spared]
        return self._dice.sample(sorted(pids), min(self._at_once, len(pids) - 1))

    def _await_well(self, fault: str, since: float) -> None:
        """Wait until every worker sends heartbeats, and each has claimed and something has finished since then."""
        moment = self._ask(lambda rows: rows.value("SELECT clock_timestamp()"))

        def well(rows: Rows) -> None:
            claimed, finished = rows.all(
                "SELECT count(DISTINCT owner) FILTER (WHERE becomes = 'in_progress'), "
                "count(*) FILTER (WHERE becomes = 'finished') FROM audit WHERE at > :moment",
                moment=moment,
            )[0]
            beating = rows.value(
                "SELECT count(*) FROM spoils_workers WHERE ended_at IS NULL AND beat_at > :moment",
                moment=moment,
            )
            wanted = self._stage.plan.processes
            assert (min(claimed, wanted), min(beating, wanted), finished > 0) == (wanted, wanted, True)

        self._ask(well)
        self.well_again.setdefault(fault, []).append(time.monotonic() - since)

    def _ask(self, question: Callable[[Rows], object], timeout: float = 90.0) -> object:
        """Ask until the answer is no AssertionError; the database may be away meanwhile."""
        deadline = time.monotonic() + timeout
        while True:
            try:
                with self._stage.rows() as rows:
                    return question(rows)
            except (AssertionError, DBAPIError):
                if time.monotonic() > deadline:
                    raise
            threading.Event().wait(0.1)

    def _mistaken(self) -> int:
        """How many live workers found that they had been declared dead; one that was frozen is among them."""
        return self._stage.crew.output.count("Declared dead by another worker")


def _gone(rows: Rows, pids: list[int]) -> None:
    assert not any(sessions_of(rows, pid) for pid in pids)


def _declared_dead(rows: Rows, pids: list[int]) -> None:
    assert not rows.value(
        "SELECT count(*) FROM spoils_workers WHERE pid = ANY(:pids) AND ended_at IS NULL", pids=pids
    ), "a frozen worker was not declared dead"


def _has_ended(pid: int) -> None:
    assert not Path(f"/proc/{pid}").exists(), "a worker that was to end did not"
