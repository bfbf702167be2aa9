"""Any order of what clients, workers, rescuers, operators and time may do: the promises hold throughout."""

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import pytest
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
from sqlalchemy.exc import DBAPIError

from spoils.db.engine import transaction
from spoils.job import OnDuplicate
from spoils.job.base import Member
from spoils.job.batch import Condition
from spoils.job.outcome import FINISHED, Ending, Report, Verdict
from spoils.models import TaskState
from spoils.queue.actions import act
from spoils.queue.batches import new_batch, new_chain, put_batch, put_batches
from spoils.queue.claim import Claim
from spoils.queue.claim_limited import claim_limited
from spoils.queue.counts import count_tasks, roll_up_counts
from spoils.queue.enqueue import enqueue
from spoils.queue.expiry import Expiry, expire
from spoils.queue.finish import ClaimLost
from spoils.queue.limits import publish
from spoils.queue.prune import prune_steps, prune_tasks, prune_windows
from spoils.queue.release import CANCELLED, release_strays
from spoils.queue.rescue import Rescue, rescue, rescue_orphans, rescue_rest
from spoils.queue.steps import write_step
from tests.queue.hands import end, take, take_suspect
from tests.rows import Rows
from tests.sample_jobs import (
    DebouncedSampleJob,
    LimitedSampleJob,
    SampleJob,
    UniqueSampleJob,
    WindowSampleJob,
)

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
TABLES = (
    "spoils_batches",
    *("fang_tasks", "spoils_counts", "spoils_attempts", "spoils_minutes", "spoils_workers"),
    *("spoils_steps", "spoils_unique_windows"),
)
CLASSES = {
    "task_types": ("sample", "unique_sample", "debounced_sample", "window_sample", "common"),
    "kinds": ("SampleJob", "UniqueSampleJob", "DebouncedSampleJob", "WindowSampleJob"),
}
EXPIRY = Expiry("SampleJob", "sample", 500.0, "Expired", "SampleJob was late.", "f00d")
ANY = st.integers(0, 1000)
"""Which one of those there are, by its place in the round."""


class Machine(RuleBasedStateMachine):
    """Keeps what must be so beside what is: who owns which attempt, and which rows were deleted on purpose."""

    def __init__(self, engine: Engine, *, beside_rust: bool) -> None:
        super().__init__()
        self.engine = engine
        self.stands_in_the_way = ("new", "retried") if beside_rust else ("new", "retried", "in_progress")
        self.connection: Connection = engine.connect()
        # Somebody's open transaction, and the rows that it has locked.
        self.other: Connection = engine.connect().execution_options(isolation_level="READ COMMITTED")
        self.locked: set[UUID] = set()
        self.rows = Rows(self.connection)
        self.workers: list[UUID] = []
        self.dead: list[UUID] = []
        self.fresh: set[UUID] = set()  # the dead whose tasks are still the rescue's to give back
        self.claims: list[tuple[UUID, Claim]] = []  # every one that was ever made
        self.owned: dict[UUID, tuple[UUID, Claim]] = {}  # by task: the one that counts
        self.left: set[UUID] = set()  # what was locked when its worker was rescued
        self.removed: set[UUID] = set()
        self.seen: dict[UUID, Row[Any]] = {}
        self.turn = 0
        self.steps: set[tuple[UUID, str]] = set()
        self.kinds: dict[UUID, str] = {}  # of each member that was seen: how its batch counts it
        self.members: dict[UUID, Counter[str]] = {}  # by batch: the counts that it must have
        self.followed: dict[UUID, set[UUID]] = {}  # by batch: its `then`, or by chain: its links

    @initialize()
    def begin(self) -> None:
        for table in TABLES:
            self.connection.execute(text(f"DELETE FROM {table}"))
        self.workers = [self.rows.worker() for _ in range(2)]
        with transaction(self.engine) as connection:
            publish(connection, [LimitedSampleJob])
        for number in range(3):
            enqueue(self.connection, SampleJob(number=number))
            enqueue(self.connection, UniqueSampleJob(number=number))
        self.took(self.workers[0], take(self.connection, self.workers[0], 4, **CLASSES), expected=4)
        self.seen = self.tasks()

    def teardown(self) -> None:
        self.other.close()
        self.connection.close()

    # What clients do.

    @rule(number=st.integers(0, 2), unique=st.booleans(), priority=st.integers(-2, 2))
    def enqueue(self, number: int, unique: bool, priority: int) -> None:
        job = UniqueSampleJob(number=number) if unique else SampleJob(number=number)
        twin = [
            row.id
            for row in self.tasks().values()
            if unique and row.uniq_hash == job.uniq_hash() and row.state in self.stands_in_the_way
        ]
        enqueued = enqueue(self.connection, job, priority=priority)
        assert enqueued.duplicate is bool(twin)
        assert not twin or twin == [enqueued.id]

    @rule(
        number=st.integers(0, 1),
        kind=st.sampled_from([DebouncedSampleJob, WindowSampleJob]),
        on_duplicate=st.sampled_from(["skip", "replace", "reschedule"]),
    )
    def debounce(
        self, number: int, kind: type[DebouncedSampleJob | WindowSampleJob], on_duplicate: OnDuplicate
    ) -> None:
        self.turn += 1
        job = kind(number=number, turn=self.turn)
        before = self.tasks()
        waiting = [
            row.id
            for row in before.values()
            if row.uniq_hash == job.uniq_hash() and row.state in ("new", "retried")
        ]
        window = self.rows.all(
            "SELECT task_id FROM spoils_unique_windows AS opened JOIN fang_tasks ON id = task_id "
            "WHERE opened.uniq_hash = :hash AND until > now()",
            hash=job.uniq_hash(),
        )
        if on_duplicate != "skip" and self.locked.intersection(waiting):
            return
        enqueued = enqueue(self.connection, job, on_duplicate=on_duplicate)
        stands = waiting or [task_id for (task_id,) in window]
        assert enqueued.duplicate is bool(stands)
        assert not stands or stands == [enqueued.id]
        replaced = on_duplicate != "skip" and bool(waiting)
        now = self.rows.one(enqueued.id)
        assert (now.metadata["turn"] == self.turn) is (replaced or not stands)
        if replaced:
            assert (now.state, now.retries) == ("new", 0)
            self.steps = {(task_id, name) for task_id, name in self.steps if task_id != enqueued.id}

    @rule(priority=st.integers(-2, 2))
    def enqueue_limited(self, priority: int) -> None:
        enqueue(self.connection, LimitedSampleJob(), priority=priority)

    @rule(number=st.integers(0, 3), on=st.sampled_from(["end", "success"]), unique=st.booleans())
    def enqueue_a_batch(self, number: int, on: Condition, unique: bool) -> None:
        batch = new_batch(then=SampleJob(number=77), name=None, on=on)
        for one in range(number):
            batch.enqueue(UniqueSampleJob(number=one) if unique else SampleJob(number=one))
        put_batch(self.connection, batch)
        self.members[batch.id] = Counter()
        self.followed[batch.id] = set()

    @rule()
    def enqueue_a_chain(self) -> None:
        chain = new_chain(
            [SampleJob(), UniqueSampleJob(number=0), SampleJob()], name=None, at=None, priority=1
        )
        put_batch(self.connection, chain)
        self.members[chain.id] = Counter()
        self.followed[chain.id] = set()

    # What workers do.

    @precondition(lambda self: self.claims)
    @rule(which=ANY)
    def step(self, which: int) -> None:
        """Also by a zombie."""
        worker_id, claim = one = self.claims[-1 - which % len(self.claims)]
        if claim.id in self.locked:
            return
        self.turn += 1
        name = f"step {self.turn}"
        if self.owned.get(claim.id) == one:
            write_step(self.connection, claim, name, "1", 1, worker_id=worker_id)
            self.steps.add((claim.id, name))
        else:
            with pytest.raises(ClaimLost):
                write_step(self.connection, claim, name, "1", 1, worker_id=worker_id)

    @rule(which=ANY)
    def claim_limited(self, which: int) -> None:
        worker_id = self.workers[which % len(self.workers)]
        free = 2 - self.limited("state = 'in_progress'")
        due = self.due("crashes < 2", limited=True)
        found = claim_limited(
            self.connection,
            worker_id=worker_id,
            task_types=[LimitedSampleJob.task_type],
            kinds=[LimitedSampleJob.__name__],
            limit=1,
        )
        self.took(worker_id, found.claims, expected=min(1, free, due))

    @rule(which=ANY, limit=st.integers(1, 4))
    def claim(self, which: int, limit: int) -> None:
        worker_id = self.workers[which % len(self.workers)]
        due = self.due("crashes < 2")
        self.took(worker_id, take(self.connection, worker_id, limit, **CLASSES), expected=min(limit, due))

    @rule(which=ANY)
    def claim_suspect(self, which: int) -> None:
        worker_id = self.workers[which % len(self.workers)]
        due = self.due("crashes >= 2")
        self.took(worker_id, take_suspect(self.connection, worker_id, **CLASSES), expected=min(1, due))

    @precondition(lambda self: self.claims)
    @rule(which=ANY, verdict=VERDICTS)
    def settle(self, which: int, verdict: Verdict) -> None:
        """Also by a zombie, of an attempt that was lost long ago, or for the second time."""
        worker_id, claim = one = self.claims[-1 - which % len(self.claims)]
        counts = self.owned.get(claim.id) == one and claim.id not in self.locked
        assert end(self.connection, worker_id, claim, verdict=verdict, skip_locked=bool(self.locked)) == (
            {claim.id} if counts else set()
        )
        if counts:
            del self.owned[claim.id]

    @precondition(lambda self: self.claims)
    @rule(number=st.integers(2, 5), verdict=VERDICTS)
    def settle_together(self, number: int, verdict: Verdict) -> None:
        """Several claims of one worker, duplicates of each other among them."""
        worker_id = self.claims[-1][0]
        claims = [claim for owner, claim in self.claims if owner == worker_id][-number:]
        count = {
            claim.id
            for claim in claims
            if self.owned.get(claim.id) == (worker_id, claim) and claim.id not in self.locked
        }
        written = end(self.connection, worker_id, *claims, verdict=verdict, skip_locked=bool(self.locked))
        assert written == count
        self.lost(count)

    @precondition(lambda self: self.members_running())
    @rule(which=ANY)
    def finish_and_add_to_the_batch(self, which: int) -> None:
        running = self.members_running()
        worker_id, claim = running[which % len(running)]
        with transaction(self.engine) as connection:
            if end(connection, worker_id, claim, skip_locked=bool(self.locked)):
                put_batches(connection, [], claim.batch_id, [Member(SampleJob(number=5))])
                self.lost([claim.id])

    @rule(which=ANY, keep=st.integers(0, 3))
    def release(self, which: int, keep: int) -> None:
        worker_id = self.workers[which % len(self.workers)]
        held = self.held_by(worker_id)
        strays, left = release_strays(self.connection, worker_id=worker_id, held=map(str, held[:keep]))
        assert set(strays) == set(held[keep:]) - self.locked
        assert left is bool(self.locked.intersection(held[keep:]))
        self.lost(strays)

    # What happens to workers.

    @rule(which=ANY)
    def rescue(self, which: int) -> None:
        worker_id = self.workers.pop(which % len(self.workers))
        beat = self.rows.value("SELECT beat_at::text FROM spoils_workers WHERE id = :id", id=worker_id)
        held = self.held_by(worker_id)
        done = rescue(self.connection, worker_id=worker_id, beat=beat)
        self.dead.append(worker_id)
        self.fresh.add(worker_id)
        # Only `pass_time` may end the time of its rescue, not a slow machine.
        self.connection.execute(
            text("UPDATE spoils_workers SET ended_at = ended_at + interval '1 hour' WHERE id = :id"),
            {"id": worker_id},
        )
        self.workers.append(self.rows.worker())
        self.given_back(held, done)
        assert take(self.connection, worker_id, 5) == [], "the dead claim nothing"

    @precondition(lambda self: self.dead)
    @rule(which=ANY)
    def rescue_rest(self, which: int) -> None:
        worker_id = self.dead[which % len(self.dead)]
        self.given_back(self.held_by(worker_id), rescue_rest(self.connection, worker_id=worker_id))

    @rule()
    def rescue_orphans(self) -> None:
        orphaning = [worker_id for worker_id in self.dead if worker_id not in self.fresh]
        held = {task_id for worker_id in orphaning for task_id in self.held_by(worker_id)}
        assert set(rescue_orphans(self.connection)) == held - self.locked
        self.lost(held - self.locked)

    # What happens to the server.

    @precondition(lambda self: self.owned)
    @rule(which=ANY)
    def lose_a_claim_in_a_crash(self, which: int) -> None:
        """Claims commit asynchronously. Its worker makes it again, with the same attempts."""
        task_id = list(self.owned)[which % len(self.owned)]
        worker_id, _ = self.owned[task_id]
        if task_id in self.locked or worker_id in self.dead:
            return
        self.connection.execute(
            text(
                "UPDATE fang_tasks SET claimed_by = NULL, claimed_at = NULL, attempts = attempts - 1, "
                "state = CAST(CASE WHEN retries > 0 THEN 'retried' ELSE 'new' END AS fang_task_state), "
                "uniq_hash = CASE WHEN EXISTS (SELECT FROM fang_tasks AS other WHERE other.state IN ('new', 'retried') "
                "AND other.uniq_hash = fang_tasks.uniq_hash) THEN NULL ELSE uniq_hash END WHERE id = :id"
            ),
            {"id": task_id},
        )
        self.lost([task_id])
        self.seen.pop(task_id, None)
        due = self.due("crashes < 2")
        self.took(worker_id, take(self.connection, worker_id, 20, **CLASSES), expected=min(20, due))

    @precondition(lambda self: self.claims)
    @rule(which=ANY, verdict=VERDICTS)
    def refuse_to_write(self, which: int, verdict: Verdict) -> None:
        worker_id, claim = self.claims[-1 - which % len(self.claims)]
        for write in (
            lambda connection: end(connection, worker_id, claim, verdict=verdict),
            lambda connection: release_strays(connection, worker_id=worker_id, held=[]),
            rescue_orphans,
        ):
            with pytest.raises(DBAPIError, match="read-only"), self.read_only() as connection:
                write(connection)

    # What other transactions do.

    @precondition(lambda self: self.seen and not self.locked)
    @rule(which=ANY, number=st.integers(1, 3))
    def lock(self, which: int, number: int) -> None:
        self.locked = {self.some_task(which + place) for place in range(number)}
        self.other.execute(
            text("SELECT FROM fang_tasks WHERE id = ANY(CAST(:ids AS uuid[])) FOR UPDATE"),
            {"ids": list(map(str, self.locked))},
        )

    @precondition(lambda self: self.locked)
    @rule()
    def unlock(self) -> None:
        self.other.rollback()
        self.locked = set()

    # What operators do.

    @precondition(lambda self: self.seen)
    @rule(which=ANY, action=st.sampled_from(["cancel", "retry", "run_now"]))
    def press(self, which: int, action: str) -> None:
        task_id = self.some_task(which)
        if task_id in self.locked:
            return
        with transaction(self.engine) as connection:
            act(connection, action, task_id, who="admin")

    @precondition(lambda self: self.seen)
    @rule(which=ANY)
    def delete(self, which: int) -> None:
        task_id = self.some_task(which)
        if task_id in self.locked:
            return
        running = self.seen[task_id].state == "in_progress"
        with transaction(self.engine) as connection:
            assert act(connection, "delete", task_id, who="admin").done is not running
        if not running:
            self.removed.add(task_id)

    @precondition(lambda self: self.removed)
    @rule(which=ANY)
    def restore(self, which: int) -> None:
        task_id = sorted(self.removed)[which % len(self.removed)]
        with transaction(self.engine) as connection:
            if act(connection, "restore", task_id, who="admin").done:
                self.removed.discard(task_id)

    @precondition(lambda self: self.seen)
    @rule(which=ANY)
    def delete_in_psql(self, which: int) -> None:
        task_id = self.some_task(which)
        if task_id in self.locked:
            return
        self.connection.execute(text("DELETE FROM fang_tasks WHERE id = :id"), {"id": task_id})
        self.removed.add(task_id)
        self.lost([task_id])

    # What time does.

    @rule(seconds=st.sampled_from([10, 100, 1000]))
    def pass_time(self, seconds: int) -> None:
        self.connection.execute(
            text(
                "UPDATE fang_tasks SET scheduled_at = scheduled_at - make_interval(secs => :seconds) "
                "WHERE state IN ('new', 'retried') AND id <> ALL(CAST(:locked AS uuid[]))"
            ),
            {"seconds": seconds, "locked": list(map(str, self.locked))},
        )
        self.connection.execute(
            text("UPDATE spoils_workers SET ended_at = ended_at - interval '2 hours' WHERE ended_at > now()")
        )
        self.connection.execute(
            text("UPDATE spoils_unique_windows SET until = until - make_interval(secs => :seconds)"),
            {"seconds": seconds},
        )
        self.fresh.clear()

    @rule()
    def expire(self) -> None:
        late = self.rows.all(
            "SELECT id FROM fang_tasks AS task WHERE task_type = 'sample' AND state = 'new' "
            "AND scheduled_at < now() - interval '500 s' AND id <> ALL(CAST(:locked AS uuid[])) "
            "AND NOT EXISTS (SELECT FROM spoils_attempts WHERE task_id = task.id)",
            locked=list(map(str, self.locked)),
        )
        assert expire(self.connection, [EXPIRY]) == len(late)
        assert {self.rows.state(task_id) for (task_id,) in late} <= {"failed"}

    @rule()
    def keep_house(self) -> None:
        prune_windows(self.connection)
        prune_steps(self.connection)
        for state in (TaskState.FINISHED, TaskState.FAILED):
            assert prune_tasks(self.connection, state, days=1) == 0
        with transaction(self.engine) as connection:
            roll_up_counts(connection)

    # What holds at any time.

    @invariant()
    def promises(self) -> None:
        tasks = self.tasks()
        active = [row for row in tasks.values() if row.state in ("new", "retried", "in_progress")]
        hashes = [
            row.uniq_hash
            for row in active
            if row.uniq_hash
            and row.state in (("new", "retried") if row.uniq_waiting else self.stands_in_the_way)
        ]
        assert len(hashes) == len(set(hashes)), "two rows of one hash"
        running = {row.id: (row.claimed_by, row.attempts) for row in active if row.state == "in_progress"}
        owners = {task_id: (worker_id, claim.attempts) for task_id, (worker_id, claim) in self.owned.items()}
        assert running == owners, "a running row has the owner that claimed it, and no other"
        left = {task_id for task_id, (owner, _) in running.items() if owner not in self.workers}
        assert left <= self.left, (
            "a running row has a living owner, unless it was locked when that was rescued"
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
        assert self.limited("state = 'in_progress'") <= 2, "more at once than the limit"
        places = self.rows.all("SELECT task_id FROM spoils_limit_places")
        assert sorted(places) == self.rows.all(
            "SELECT id FROM fang_tasks WHERE priority < -2 AND state = 'in_progress' ORDER BY id"
        ), "a place is taken by what does not run, or not by what does"
        assert self.rows.all(
            "SELECT task_id, priority, scheduled_at, crashes FROM spoils_parked ORDER BY 1"
        ) == self.rows.all(
            "SELECT id, priority, scheduled_at, crashes FROM fang_tasks "
            "WHERE priority < -2 AND state IN ('new', 'retried') ORDER BY 1"
        ), "what is parked is not what waits for a limit"
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
        steps = {
            (task_id, name)
            for task_id, name in self.rows.all("SELECT task_id, name FROM spoils_steps")
            if task_id in tasks
        }
        assert steps == {(task_id, name) for task_id, name in self.steps if task_id in tasks}, (
            "a step is lost"
        )
        self.follow_batches(tasks)
        self.seen = tasks

    def follow_batches(self, tasks: dict[UUID, Row[Any]]) -> None:
        """What is counted changes with what is seen, and what follows is enqueued once, when it is due."""
        kinds = self.kinds_of(tasks)
        for task_id in self.kinds.keys() | kinds.keys():
            before, now = self.kinds.get(task_id), kinds.get(task_id)
            batch_id = (tasks.get(task_id) or self.seen[task_id]).batch_id
            if (now is None and before != "active") or (before is None and now != "active"):
                continue  # an ended one was deleted or restored
            self.members[batch_id].update([now] if now else [])
            self.members[batch_id].subtract([before] if before else [])
        self.kinds = kinds
        for row in tasks.values():
            follows = (row.previous or {}).get("batch")
            batch_id = UUID(follows["id"]) if follows else row.batch_id
            if batch_id and (follows or self.is_chain(batch_id)):
                self.followed[batch_id].add(row.id)
        for batch in self.connection.execute(text("SELECT * FROM spoils_batches")):
            counts = self.members[batch.id]
            for name in ("active", "finished", "failed", "cancelled"):
                assert getattr(batch, name) == counts[name], (name, batch, counts)
            assert batch.total == sum(counts.values())
            stopped = batch.condition == "success" and counts["failed"] + counts["cancelled"] > 0
            if batch.links is None:
                assert len(self.followed[batch.id]) == (batch.ended_at is not None), (
                    "then came twice, or too soon"
                )
                assert batch.ended_at or counts["active"] or stopped, "then did not come"
            else:
                gone = batch.enqueued_id in self.removed
                assert batch.ended_at or counts["active"] or stopped or gone, "the chain does not go on"
                assert not batch.ended_at or batch.links == []

    def kinds_of(self, tasks: dict[UUID, Row[Any]]) -> dict[UUID, str]:
        cancelled = set(
            self.rows.all("SELECT task_id, attempt, message FROM spoils_attempts WHERE outcome = 'cancelled'")
        )
        found = {}
        for row in tasks.values():
            if row.batch_id is None:
                continue
            by_operator = row.error_message == CANCELLED
            if row.state in ("new", "retried", "in_progress"):
                found[row.id] = "active"
            elif row.state == "failed" and (
                by_operator or (row.id, row.attempts, row.error_message) in cancelled
            ):
                found[row.id] = "cancelled"
            else:
                found[row.id] = row.state
        return found

    def is_chain(self, batch_id: UUID) -> bool:
        return bool(
            self.rows.value("SELECT links IS NOT NULL FROM spoils_batches WHERE id = :id", id=batch_id)
        )

    # Its hands.

    def tasks(self) -> dict[UUID, Row[Any]]:
        return {
            row.id: row
            for row in self.connection.execute(text("SELECT * FROM fang_tasks ORDER BY created_at, id"))
        }

    def some_task(self, which: int) -> UUID:
        return list(self.seen)[which % len(self.seen)]

    def limited(self, where: str) -> int:
        return int(self.rows.value(f"SELECT count(*) FROM fang_tasks WHERE priority < -2 AND {where}"))

    def due(self, where: str, *, limited: bool = False) -> int:
        return int(
            self.rows.value(
                "SELECT count(*) FROM fang_tasks "
                "WHERE state IN ('new', 'retried') AND scheduled_at <= now() "
                f"AND id <> ALL(CAST(:locked AS uuid[])) AND (priority < -2) = :limited AND {where}",
                limited=limited,
                locked=list(map(str, self.locked)),
            )
        )

    def took(self, worker_id: UUID, claims: list[Claim], *, expected: int) -> None:
        assert len(claims) == expected
        for claim in claims:
            assert claim.id not in self.owned, "claimed twice"
            self.owned[claim.id] = (worker_id, claim)
            self.claims.append((worker_id, claim))

    @contextmanager
    def read_only(self) -> Iterator[Connection]:
        with transaction(self.engine) as connection:
            connection.execute(text("SET TRANSACTION READ ONLY"))
            yield connection

    def members_running(self) -> list[tuple[UUID, Claim]]:
        return [one for one in self.owned.values() if one[1].batch_id]

    def held_by(self, worker_id: UUID) -> list[UUID]:
        return [task_id for task_id, (owner, _) in self.owned.items() if owner == worker_id]

    def given_back(self, held: list[UUID], done: Rescue) -> None:
        back = set(held) - self.locked
        assert (done.tasks, done.left) == (len(back), len(held) - len(back))
        self.left |= self.locked.intersection(held)
        self.lost(back)

    def lost(self, task_ids: Iterable[UUID]) -> None:
        for task_id in task_ids:
            self.owned.pop(task_id, None)


def test_the_promises_hold_in_any_order_of_events(engine: Engine) -> None:
    hold(engine, beside_rust=False)


def test_the_promises_hold_in_any_order_of_events_beside_rust_workers(
    engine: Engine, beside_rust: None
) -> None:
    hold(engine, beside_rust=True)


def hold(engine: Engine, *, beside_rust: bool) -> None:
    run_state_machine_as_test(
        lambda: Machine(engine, beside_rust=beside_rust),
        settings=settings(
            max_examples=40,
            stateful_step_count=40,
            deadline=None,
            print_blob=True,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_what_a_rescue_leaves_locked_is_an_orphan_s_only_after_its_time(engine: Engine) -> None:
    """A walk that the machine seldom finds."""
    machine = Machine(engine, beside_rust=False)
    machine.begin()
    for step in (
        lambda: machine.lock(which=0, number=1),
        lambda: machine.rescue(which=0),
        machine.unlock,
        machine.rescue_orphans,
        lambda: machine.pass_time(seconds=10),
        machine.rescue_orphans,
    ):
        step()
        machine.promises()
    assert not any(machine.held_by(worker_id) for worker_id in machine.dead)
    machine.teardown()
