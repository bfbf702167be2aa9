"""Any order of what clients, workers, rescuers, operators and time may do: the promises hold throughout."""

from typing import Any
from uuid import UUID

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import Connection, Engine, Row, text

from spoils.db.engine import transaction
from spoils.models import TaskState
from spoils.outcome import FINISHED, Ending, Report, Verdict
from spoils.queue.actions import act
from spoils.queue.claim import Claim
from spoils.queue.counts import count_tasks, fold_counts
from spoils.queue.enqueue import enqueue
from spoils.queue.prune import prune_tasks
from spoils.queue.release import release_strays
from spoils.queue.rescue import rescue, rescue_orphans
from tests.queue.hands import end, take, take_suspect
from tests.rows import Rows
from tests.sample_jobs import SampleJob, UniqueSampleJob

VERDICTS = st.sampled_from(
    [
        FINISHED,
        Verdict(Ending.FAILED, report=Report("ValueError", "boom")),
        Verdict(Ending.CANCELLED, report=Report("", "no")),
        Verdict(Ending.RETRIED, 60.0, Report("ValueError", "boom")),
        Verdict(Ending.TIMED_OUT, 0.0, Report("Timeout", "slow")),
        Verdict(Ending.SNOOZED, 30.0),
        Verdict(Ending.RELEASED),
    ]
)
ANY = st.integers(0, 1000)
"""Which one of those there are, by its place in the round."""


class Machine(RuleBasedStateMachine):
    """Keeps what must be so beside what is: who owns which attempt, and which rows were deleted on purpose."""

    def __init__(self, engine: Engine) -> None:
        super().__init__()
        self.engine = engine
        self.connection: Connection = engine.connect()
        self.rows = Rows(self.connection)
        self.workers: list[UUID] = []
        self.dead: list[UUID] = []
        self.claims: list[tuple[UUID, Claim]] = []  # every one that was ever made
        self.owned: dict[UUID, tuple[UUID, Claim]] = {}  # by task: the one that counts
        self.removed: set[UUID] = set()
        self.seen: dict[UUID, Row[Any]] = {}

    @initialize()
    def begin(self) -> None:
        for table in ("fang_tasks", "spoils_counts", "spoils_attempts", "spoils_minutes", "spoils_workers"):
            self.connection.execute(text(f"DELETE FROM {table}"))
        self.workers = [self.rows.worker() for _ in range(2)]

    def teardown(self) -> None:
        self.connection.close()

    # What clients do.

    @rule(number=st.integers(0, 2), unique=st.booleans(), priority=st.integers(-2, 2))
    def enqueue(self, number: int, unique: bool, priority: int) -> None:
        job = UniqueSampleJob(number=number) if unique else SampleJob(number=number)
        twin = [
            row.id
            for row in self.tasks().values()
            if unique and row.uniq_hash == job.uniq_hash() and row.state in ("new", "retried", "in_progress")
        ]
        enqueued = enqueue(self.connection, job, priority=priority)
        assert enqueued.duplicate is bool(twin)
        assert not twin or twin == [enqueued.id]

    # What workers do.

    @rule(which=ANY, limit=st.integers(1, 4))
    def claim(self, which: int, limit: int) -> None:
        worker_id = self.workers[which % len(self.workers)]
        due = self.due("crashes < 2")
        self.took(worker_id, take(self.connection, worker_id, limit), expected=min(limit, due))

    @rule(which=ANY)
    def claim_suspect(self, which: int) -> None:
        worker_id = self.workers[which % len(self.workers)]
        due = self.due("crashes >= 2")
        self.took(worker_id, take_suspect(self.connection, worker_id), expected=min(1, due))

    @precondition(lambda self: self.dead)
    @rule(which=ANY)
    def claim_by_the_dead(self, which: int) -> None:
        assert take(self.connection, self.dead[which % len(self.dead)], 5) == []

    @precondition(lambda self: self.claims)
    @rule(which=ANY, verdict=VERDICTS)
    def settle(self, which: int, verdict: Verdict) -> None:
        """Also by a zombie, of an attempt that was lost long ago, or for the second time."""
        worker_id, claim = one = self.claims[-1 - which % len(self.claims)]
        counts = self.owned.get(claim.id) == one
        assert end(self.connection, worker_id, claim, verdict=verdict) == ({claim.id} if counts else set())
        if counts:
            del self.owned[claim.id]

    @rule(which=ANY, keep=st.integers(0, 3))
    def release(self, which: int, keep: int) -> None:
        worker_id = self.workers[which % len(self.workers)]
        held = [task_id for task_id, (owner, _) in self.owned.items() if owner == worker_id]
        strays = release_strays(self.connection, worker_id=worker_id, held=map(str, held[:keep]))
        assert set(strays) == set(held[keep:])
        self.lost(strays)

    # What happens to workers.

    @rule(which=ANY)
    def rescue(self, which: int) -> None:
        worker_id = self.workers.pop(which % len(self.workers))
        beat = self.rows.value("SELECT beat_at::text FROM spoils_workers WHERE id = :id", id=worker_id)
        held = [task_id for task_id, (owner, _) in self.owned.items() if owner == worker_id]
        assert rescue(self.connection, worker_id=worker_id, beat=beat).tasks == len(held)
        assert rescue_orphans(self.connection) == []
        self.lost(held)
        self.dead.append(worker_id)
        self.workers.append(self.rows.worker())

    # What operators do.

    @precondition(lambda self: self.seen)
    @rule(which=ANY, action=st.sampled_from(["cancel", "retry", "run_now"]))
    def press(self, which: int, action: str) -> None:
        with transaction(self.engine) as connection:
            act(connection, action, self.some_task(which), who="admin")

    @precondition(lambda self: self.seen)
    @rule(which=ANY)
    def delete(self, which: int) -> None:
        task_id = self.some_task(which)
        running = self.seen[task_id].state == "in_progress"
        with transaction(self.engine) as connection:
            assert act(connection, "delete", task_id, who="admin").done is not running
        if not running:
            self.removed.add(task_id)

    @precondition(lambda self: self.seen)
    @rule(which=ANY)
    def delete_in_psql(self, which: int) -> None:
        task_id = self.some_task(which)
        self.connection.execute(text("DELETE FROM fang_tasks WHERE id = :id"), {"id": task_id})
        self.removed.add(task_id)
        self.lost([task_id])

    # What time does.

    @rule(seconds=st.sampled_from([10, 100, 1000]))
    def pass_time(self, seconds: int) -> None:
        self.connection.execute(
            text(
                "UPDATE fang_tasks SET scheduled_at = scheduled_at - make_interval(secs => :seconds) "
                "WHERE state IN ('new', 'retried')"
            ),
            {"seconds": seconds},
        )

    @rule()
    def prune_what_is_young(self) -> None:
        for state in (TaskState.FINISHED, TaskState.FAILED):
            assert prune_tasks(self.connection, state, days=1) == 0

    @rule()
    def fold(self) -> None:
        with transaction(self.engine) as connection:
            fold_counts(connection)

    # What holds at any time.

    @invariant()
    def promises(self) -> None:
        tasks = self.tasks()
        active = [row for row in tasks.values() if row.state in ("new", "retried", "in_progress")]
        hashes = [row.uniq_hash for row in active if row.uniq_hash]
        assert len(hashes) == len(set(hashes)), "two active rows of one hash"
        running = {row.id: (row.claimed_by, row.attempts) for row in active if row.state == "in_progress"}
        owners = {task_id: (worker_id, claim.attempts) for task_id, (worker_id, claim) in self.owned.items()}
        assert running == owners, "a running row has the owner that claimed it, and no other"
        assert {owner for owner, _ in running.values()} <= set(self.workers), (
            "a running row has a living owner"
        )
        assert all(row.claimed_by is None for row in active if row.state != "in_progress")
        for task_id, before in self.seen.items():
            now = tasks.get(task_id)
            if now is None:
                assert task_id in self.removed, "a row vanished"
                continue
            assert now.attempts >= before.attempts, "attempts went down"
            if before.state == "finished":
                assert now == before, "a finished row changed"
        counted = {
            (task_type, state): number
            for task_type, states in count_tasks(self.connection).items()
            for state, number in states.items()
            if number
        }
        true: dict[tuple[str, TaskState], int] = {}
        for row in tasks.values():
            key = row.task_type, TaskState(row.state)
            true[key] = true.get(key, 0) + 1
        assert counted == true, "the counts are wrong"
        self.seen = tasks

    # Its hands.

    def tasks(self) -> dict[UUID, Row[Any]]:
        return {
            row.id: row
            for row in self.connection.execute(text("SELECT * FROM fang_tasks ORDER BY created_at, id"))
        }

    def some_task(self, which: int) -> UUID:
        return list(self.seen)[which % len(self.seen)]

    def due(self, where: str) -> int:
        return int(
            self.rows.value(
                "SELECT count(*) FROM fang_tasks "
                f"WHERE state IN ('new', 'retried') AND scheduled_at <= now() AND {where}"
            )
        )

    def took(self, worker_id: UUID, claims: list[Claim], *, expected: int) -> None:
        assert len(claims) == expected
        for claim in claims:
            assert claim.id not in self.owned, "claimed twice"
            self.owned[claim.id] = (worker_id, claim)
            self.claims.append((worker_id, claim))

    def lost(self, task_ids: list[UUID]) -> None:
        for task_id in task_ids:
            self.owned.pop(task_id, None)


def test_the_promises_hold_in_any_order_of_events(engine: Engine) -> None:
    run_state_machine_as_test(
        lambda: Machine(engine),
        settings=settings(
            max_examples=60,
            stateful_step_count=40,
            deadline=None,
            print_blob=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
