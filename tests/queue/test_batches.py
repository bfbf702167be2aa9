"""Batches: `then` comes once, in the commit of the last outcome, however the members end, come back and go."""

from collections.abc import Callable
from functools import partial
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Connection, Engine, text

from spoils.db.engine import make_engine, transaction
from spoils.job import Job
from spoils.job.batch import BatchClosed, Condition
from spoils.job.outcome import FINISHED, Ending, Report, Verdict
from spoils.models import TaskState
from spoils.queue import prune
from spoils.queue.actions import act
from spoils.queue.batches import new_batch, put_batch, put_batches, recount_batch, recount_batches
from spoils.queue.claim import Claim
from spoils.queue.enqueue import enqueue
from spoils.queue.fence import BlockedByOther
from spoils.queue.release import release_strays
from spoils.queue.rescue import rescue
from tests.locks import at_once, held, meanwhile
from tests.queue.hands import end, take
from tests.rows import Rows
from tests.sample_jobs import SampleJob, UniqueSampleJob
from tests.support import eventually

FAILED = Verdict(Ending.FAILED, report=Report("ValueError", "boom"))
CANCELLED = Verdict(Ending.CANCELLED, report=Report("", "there is no such thing"))
THEN = UniqueSampleJob(number=99)

Step = Callable[["Members", Claim], None]


class Members:
    """A batch of jobs, and one worker's hands."""

    def __init__(self, engine: Engine, rows: Rows) -> None:
        self.engine = engine
        self.rows = rows
        self.connection = rows.connection
        self.worker = rows.worker()

    def enqueue(
        self, number: int, *, then: Job | None = THEN, on: Condition = "end", jobs: list[Job] | None = None
    ) -> UUID:
        batch = new_batch(then=then, name="night import", on=on)
        for job in jobs or [SampleJob(number=one) for one in range(number)]:
            batch.enqueue(job)
        put_batch(self.connection, batch)
        return batch.id

    def take(self, number: int = 1) -> list[Claim]:
        return take(self.connection, self.worker, number)

    def end(self, *claims: Claim, verdict: Verdict = FINISHED) -> None:
        assert len(end(self.connection, self.worker, *claims, verdict=verdict)) == len(claims)

    def act(self, action: str, task_id: UUID) -> None:
        with transaction(self.engine) as connection:
            assert act(connection, action, task_id, who="admin").done

    def psql(self, statement: str, **values: Any) -> None:
        self.connection.execute(text(statement), values)

    def counts(self, batch_id: UUID) -> dict[str, int]:
        """The counts that are not zero."""
        names = ("total", "active", "finished", "failed", "cancelled")
        (row,) = self.rows.all(f"SELECT {', '.join(names)} FROM spoils_batches WHERE id = :id", id=batch_id)
        return {name: number for name, number in zip(names, row, strict=True) if number}

    def thens(self) -> list[dict[str, Any]]:
        """What each `then` that was enqueued finds of its batch."""
        found = self.rows.all(
            "SELECT previous -> 'batch' FROM fang_tasks WHERE metadata ->> 'number' = '99' AND previous IS NOT NULL"
        )
        return [row for (row,) in found]


@pytest.fixture
def members(engine: Engine, rows: Rows) -> Members:
    return Members(engine, rows)


def test_then_is_enqueued_with_the_last_outcome_and_finds_the_counts(members: Members, rows: Rows) -> None:
    batch_id = members.enqueue(3)
    assert members.counts(batch_id) == {"total": 3, "active": 3}
    first, second, third = members.take(3)
    assert members.counts(batch_id) == {"total": 3, "active": 3}
    members.end(first)
    members.end(second, verdict=FAILED)
    assert members.counts(batch_id) == {"total": 3, "active": 1, "finished": 1, "failed": 1}
    assert members.thens() == []
    members.end(third)
    assert members.counts(batch_id) == {"total": 3, "finished": 2, "failed": 1}
    assert members.thens() == [
        {
            "id": str(batch_id),
            "name": "night import",
            "total": 3,
            "finished": 2,
            "failed": 1,
            "cancelled": 0,
        }
    ]
    (then,) = members.take(5)
    assert then.kind == "UniqueSampleJob"
    assert then.batch_id is None
    ended, enqueued = rows.all("SELECT ended_at IS NOT NULL, enqueued_id FROM spoils_batches")[0]
    assert (ended, enqueued) == (True, then.id)


def settles(verdict: Verdict) -> Step:
    return lambda members, claim: members.end(claim, verdict=verdict)


def acts(action: str) -> Step:
    def step(members: Members, claim: Claim) -> None:
        release_strays(members.connection, worker_id=members.worker, held=[])
        members.act(action, claim.id)

    return step


def in_psql(statement: str) -> Step:
    return lambda members, claim: members.psql(f"{statement} WHERE id = :id", id=claim.id)


def is_cancelled_while_its_worker_dies(members: Members, claim: Claim) -> None:
    members.act("cancel", claim.id)
    beat = members.rows.value("SELECT beat_at::text FROM spoils_workers WHERE id = :id", id=members.worker)
    assert rescue(members.connection, worker_id=members.worker, beat=beat).tasks == 1


def kills_its_worker_three_times(members: Members, claim: Claim) -> None:
    members.psql("UPDATE fang_tasks SET crashes = 2 WHERE id = :id", id=claim.id)
    beat = members.rows.value("SELECT beat_at::text FROM spoils_workers WHERE id = :id", id=members.worker)
    assert rescue(members.connection, worker_id=members.worker, beat=beat).tasks == 1


@pytest.mark.parametrize(
    ("ends", "counts"),
    [
        (settles(FINISHED), {"total": 1, "finished": 1}),
        (settles(FAILED), {"total": 1, "failed": 1}),
        (settles(CANCELLED), {"total": 1, "cancelled": 1}),
        (acts("cancel"), {"total": 1, "cancelled": 1}),
        (is_cancelled_while_its_worker_dies, {"total": 1, "cancelled": 1}),
        (kills_its_worker_three_times, {"total": 1, "failed": 1}),
        (acts("delete"), {}),
        (in_psql("UPDATE fang_tasks SET state = 'finished'"), {"total": 1, "finished": 1}),
        (in_psql("UPDATE fang_tasks SET state = 'failed'"), {"total": 1, "failed": 1}),
        (in_psql("UPDATE fang_tasks SET batch_id = NULL"), {}),
        (in_psql("DELETE FROM fang_tasks"), {}),
    ],
    ids=[
        "finished",
        "failed",
        "returned Cancel",
        "cancelled while it waits",
        "cancelled while its worker dies",
        "third crash",
        "deleted",
        "finished in psql",
        "failed in psql",
        "taken out in psql",
        "deleted in psql",
    ],
)
def test_however_the_last_member_ends_then_comes_once(
    members: Members, ends: Step, counts: dict[str, int]
) -> None:
    batch_id = members.enqueue(1)
    (claim,) = members.take()
    ends(members, claim)
    assert members.counts(batch_id) == counts
    assert len(members.thens()) == 1


@pytest.mark.parametrize(
    "goes_back",
    [
        settles(Verdict(Ending.RETRIED, 0.0, Report("ValueError", "boom"))),
        settles(Verdict(Ending.TIMED_OUT, 0.0, Report("Timeout", "slow"))),
        settles(Verdict(Ending.SNOOZED)),
        settles(Verdict(Ending.RELEASED)),
        lambda members, _: release_strays(members.connection, worker_id=members.worker, held=[]),
    ],
    ids=["retried", "timed out", "snoozed", "released", "released as a stray"],
)
def test_a_member_that_goes_back_to_the_queue_stays_active(members: Members, goes_back: Step) -> None:
    batch_id = members.enqueue(1)
    goes_back(members, members.take()[0])
    assert members.counts(batch_id) == {"total": 1, "active": 1}
    assert members.thens() == []


def test_with_success_then_waits_for_the_retry_of_what_failed(members: Members) -> None:
    batch_id = members.enqueue(2, on="success")
    first, second = members.take(2)
    members.end(first, verdict=FAILED)
    members.end(second)
    assert members.thens() == []
    members.act("retry", first.id)
    assert members.counts(batch_id) == {"total": 2, "active": 1, "finished": 1}
    members.end(*members.take())
    assert members.counts(batch_id) == {"total": 2, "finished": 2}
    assert [then["finished"] for then in members.thens()] == [2]


def test_with_success_the_delete_of_what_failed_is_no_success(members: Members) -> None:
    batch_id = members.enqueue(1, on="success")
    (claim,) = members.take()
    members.end(claim, verdict=FAILED)
    members.act("delete", claim.id)
    assert members.counts(batch_id) == {"total": 1, "failed": 1}
    members.act("restore", claim.id)
    members.act("retry", claim.id)
    members.end(*members.take())
    assert members.counts(batch_id) == {"total": 1, "finished": 1}
    assert len(members.thens()) == 1


def test_an_operator_lets_a_stopped_batch_go_on_in_psql(members: Members) -> None:
    batch_id = members.enqueue(1, on="success")
    members.end(*members.take(), verdict=FAILED)
    members.psql("UPDATE spoils_batches SET condition = 'end' WHERE id = :id", id=batch_id)
    assert [then["failed"] for then in members.thens()] == [1]


@pytest.mark.parametrize("verdict", [FAILED, CANCELLED])
def test_a_member_retried_after_the_end_changes_the_counts_and_enqueues_nothing(
    members: Members, verdict: Verdict
) -> None:
    batch_id = members.enqueue(1)
    (claim,) = members.take()
    members.end(claim, verdict=verdict)
    members.act("retry", claim.id)
    assert members.counts(batch_id) == {"total": 1, "active": 1}
    members.end(*[one for one in members.take(5) if one.id == claim.id])
    assert members.counts(batch_id) == {"total": 1, "finished": 1}
    assert len(members.thens()) == 1


def test_a_restored_member_is_waited_for_again(members: Members) -> None:
    batch_id = members.enqueue(2)
    first, second = members.take(2)
    members.end(first)
    release_strays(members.connection, worker_id=members.worker, held=[])
    members.psql("UPDATE fang_tasks SET scheduled_at = now() + interval '1 day' WHERE id = :id", id=second.id)
    extra = enqueue(members.connection, SampleJob(number=7))
    members.psql("UPDATE fang_tasks SET batch_id = :batch WHERE id = :id", batch=batch_id, id=extra.id)
    members.act("delete", second.id)
    assert members.counts(batch_id) == {"total": 2, "active": 1, "finished": 1}
    members.act("restore", second.id)
    assert members.counts(batch_id) == {"total": 3, "active": 2, "finished": 1}
    members.end(*members.take())
    assert members.thens() == []
    members.act("run_now", second.id)
    members.end(*members.take())
    assert members.counts(batch_id) == {"total": 3, "finished": 3}
    assert len(members.thens()) == 1


def test_a_member_restored_after_the_end_enqueues_nothing_again(members: Members) -> None:
    batch_id = members.enqueue(1)
    (claim,) = members.take()
    release_strays(members.connection, worker_id=members.worker, held=[])
    members.act("delete", claim.id)
    assert len(members.thens()) == 1
    members.act("restore", claim.id)
    assert members.counts(batch_id) == {"total": 1, "active": 1}
    members.end(*[one for one in members.take(5) if one.id == claim.id])
    assert members.counts(batch_id) == {"total": 1, "finished": 1}
    assert len(members.thens()) == 1


def test_the_retention_takes_members_out_of_no_count(members: Members) -> None:
    batch_id = members.enqueue(3)
    first, second, third = members.take(3)
    members.end(first)
    members.end(second, verdict=FAILED)
    members.psql("UPDATE fang_tasks SET updated_at = now() - interval '10 days' WHERE state <> 'in_progress'")
    for state in (TaskState.FINISHED, TaskState.FAILED):
        assert prune.prune_tasks(members.connection, state, days=7) == 1
    assert members.counts(batch_id) == {"total": 3, "active": 1, "finished": 1, "failed": 1}
    members.end(third)
    assert [then["failed"] for then in members.thens()] == [1]


def test_a_batch_is_forgotten_after_its_retention_but_not_while_something_may_follow(
    members: Members,
) -> None:
    def age() -> int:
        members.psql("UPDATE spoils_batches SET created_at = now() - interval '10 days'")
        members.psql(
            "UPDATE spoils_batches SET ended_at = now() - interval '10 days' WHERE ended_at IS NOT NULL"
        )
        return prune.prune_batches(members.connection, days=7)

    members.enqueue(1, on="success")
    assert age() == 0
    (claim,) = members.take()
    members.end(claim, verdict=FAILED)
    assert age() == 0
    members.act("delete", claim.id)
    assert age() == 0
    members.psql("DELETE FROM spoils_trash")
    assert age() == 1
    ended = members.enqueue(0)
    assert prune.prune_batches(members.connection, days=7) == 0
    assert members.counts(ended) == {}
    assert age() == 1


def test_a_batch_without_members_ends_at_once(members: Members) -> None:
    members.enqueue(0)
    assert [then["total"] for then in members.thens()] == [0]


def test_a_batch_that_is_rolled_back_leaves_nothing(members: Members, engine: Engine) -> None:
    batch = new_batch(then=THEN, name=None, on="end")
    batch.enqueue(SampleJob())
    with held(engine) as application:
        put_batch(application, batch)
        application.rollback()
    assert members.rows.value("SELECT count(*) FROM spoils_batches") == 0
    assert members.take() == []


@pytest.mark.parametrize("commits", [True, False])
def test_of_the_last_two_that_end_at_once_the_second_enqueues_then(
    members: Members, engine: Engine, commits: bool
) -> None:
    members.enqueue(2)
    first, second = members.take(2)
    with held(engine) as one:
        end(one, members.worker, first)
        with meanwhile(engine, lambda other: end(other, members.worker, second)) as ending:
            assert members.thens() == []
            one.commit() if commits else one.rollback()
        assert ending.result() == {second.id}
    assert len(members.thens()) == commits
    if not commits:
        members.end(first)
        assert len(members.thens()) == 1


def test_many_that_end_at_once_enqueue_then_once(members: Members, engine: Engine) -> None:
    batch_id = members.enqueue(24)
    claims = members.take(24)

    def ends(connection: Connection, claim: Claim) -> bool:
        try:
            return bool(end(connection, members.worker, claim))
        except BlockedByOther:  # as the settler does, it comes again
            return False

    def hand(number: int) -> None:
        with engine.connect() as connection:
            for claim in claims[number::8]:
                eventually(partial(ends, connection, claim))

    at_once(8, hand)
    assert members.counts(batch_id) == {"total": 24, "finished": 24}
    assert len(members.thens()) == 1


def test_statements_with_members_of_the_same_batches_do_not_deadlock(
    members: Members, engine: Engine
) -> None:
    batches = [members.enqueue(40) for _ in range(4)]
    claims = sorted(members.take(160), key=lambda claim: claim.key[::-1])

    def hand(number: int) -> None:
        part = claims[number::4]
        with transaction(engine) as connection:
            ids = [claim.id for claim in (part if number % 2 else part[::-1])]
            connection.execute(
                text("UPDATE fang_tasks SET state = 'finished' WHERE id = ANY(:ids)"), {"ids": ids}
            )

    at_once(4, hand)
    assert [members.counts(batch_id) for batch_id in batches] == [{"total": 40, "finished": 40}] * 4
    assert len(members.thens()) == 4


def test_what_happens_in_one_transaction_ends_a_batch_at_its_commit(members: Members, engine: Engine) -> None:
    batch_id = members.enqueue(1)
    (claim,) = members.take()
    with held(engine) as psql:
        psql.execute(text("UPDATE fang_tasks SET state = 'finished' WHERE id = :id"), {"id": claim.id})
        added = enqueue(psql, SampleJob(number=5))
        psql.execute(
            text("UPDATE fang_tasks SET batch_id = :batch WHERE id = :id"),
            {"batch": batch_id, "id": added.id},
        )
        psql.commit()
    assert members.counts(batch_id) == {"total": 2, "active": 1, "finished": 1}
    assert members.thens() == []
    members.end(*members.take())
    assert len(members.thens()) == 1


def test_a_member_that_psql_inserts_is_counted(members: Members) -> None:
    batch_id = members.enqueue(1)
    members.rows.task(batch_id=batch_id)
    members.rows.task(batch_id=batch_id, state="finished")
    members.rows.task(batch_id=uuid4())
    assert members.counts(batch_id) == {"total": 2, "active": 2}


def test_a_duplicate_that_waits_already_is_no_member(members: Members) -> None:
    waits = enqueue(members.connection, UniqueSampleJob(number=1))
    batch_id = members.enqueue(
        0, jobs=[UniqueSampleJob(number=1), UniqueSampleJob(number=2), UniqueSampleJob(number=2)]
    )
    assert members.counts(batch_id) == {"total": 1, "active": 1}
    assert members.rows.one(waits.id).batch_id is None
    members.end(*[claim for claim in members.take(5) if claim.id != waits.id])
    assert len(members.thens()) == 1


def test_then_is_enqueued_although_its_duplicate_waits(members: Members) -> None:
    enqueue(members.connection, THEN)
    members.enqueue(1)
    members.end(*members.take())
    assert len(members.thens()) == 1
    assert (
        members.rows.value(
            "SELECT count(*) FROM fang_tasks WHERE metadata ->> 'number' = '99' AND state = 'new'"
        )
        == 2
    )


def test_a_truncate_forgets_open_batches_and_enqueues_nothing(members: Members) -> None:
    ended = members.enqueue(0)
    members.enqueue(3)
    members.psql("TRUNCATE fang_tasks")
    assert members.rows.all("SELECT id FROM spoils_batches") == [(ended,)]
    assert members.take() == []


def test_outcomes_of_others_are_written_while_a_transaction_holds_a_batch(
    members: Members, engine: Engine
) -> None:
    batch_id = members.enqueue(2)
    other = enqueue(members.connection, SampleJob(number=7))
    claims = members.take(3)
    with held(engine) as frozen:
        frozen.execute(text("SELECT FROM spoils_batches WHERE id = :id FOR UPDATE"), {"id": batch_id})
        with pytest.raises(BlockedByOther):
            members.end(*claims)
        members.end(*[claim for claim in claims if claim.id == other.id])
        with pytest.raises(BlockedByOther):
            members.end(*[claim for claim in claims if claim.id != other.id], verdict=FAILED)
    members.end(*[claim for claim in claims if claim.id != other.id])
    assert len(members.thens()) == 1


def test_statements_that_change_no_count_do_not_wait_for_a_batch(members: Members, engine: Engine) -> None:
    batch_id = members.enqueue(3)
    finished, *_ = members.take(1)
    members.end(finished)
    members.psql("UPDATE fang_tasks SET updated_at = now() - interval '10 days' WHERE state = 'finished'")
    with held(engine) as frozen:
        frozen.execute(text("SELECT FROM spoils_batches WHERE id = :id FOR UPDATE"), {"id": batch_id})
        claimed, *_ = members.take(2)
        members.end(claimed, verdict=Verdict(Ending.RETRIED, 0.0, Report("ValueError", "boom")))
        release_strays(members.connection, worker_id=members.worker, held=[])
        assert prune.prune_tasks(members.connection, TaskState.FINISHED, days=7) == 1


@pytest.mark.parametrize(("wrong", "thens"), [(2, 0), (0, 1)])
def test_a_recount_corrects_a_batch_and_ends_it_if_it_is_due(
    members: Members, database_url: str, wrong: int, thens: int
) -> None:
    """As after a restore of data alone, with members that were counted twice."""
    batch_id = members.enqueue(2)
    members.psql("UPDATE spoils_batches SET active = active + 2, total = total + 2")
    claims = members.take(2)
    if not wrong:
        members.end(*claims)
    enqueue(members.connection, SampleJob(number=7))  # of no batch
    assert members.thens() == []
    engine = make_engine(database_url, connections=1, application_name="tests")
    for expected in (1, 0):
        assert recount_batches(engine) == expected
        assert members.counts(batch_id) == (
            {"total": 2, "active": 2} if wrong else {"total": 2, "finished": 2}
        )
        assert len(members.thens()) == thens
    engine.dispose()


def test_a_recount_waits_for_an_outcome_that_is_not_committed(members: Members, engine: Engine) -> None:
    batch_id = members.enqueue(2)
    first, _ = members.take(2)
    with held(engine) as one:
        end(one, members.worker, first)
        with meanwhile(engine, lambda other: recount_batch(other, batch_id)) as recounting:
            one.commit()
        assert recounting.result() is False
    assert members.counts(batch_id) == {"total": 2, "active": 1, "finished": 1}


def test_a_recount_ends_a_batch_of_which_only_the_end_is_missing(members: Members) -> None:
    batch_id = members.enqueue(1)
    with transaction(members.engine) as own:
        own.exec_driver_sql("ALTER TABLE spoils_batches DISABLE TRIGGER USER")
        end(own, members.worker, *members.take())
        own.exec_driver_sql("ALTER TABLE spoils_batches ENABLE TRIGGER USER")
    assert (members.counts(batch_id), members.thens()) == ({"total": 1, "finished": 1}, [])
    assert recount_batch(members.connection, batch_id) is False
    assert len(members.thens()) == 1


def test_a_recount_leaves_a_batch_that_has_ended(members: Members) -> None:
    batch_id = members.enqueue(1)
    members.end(*members.take())
    members.psql("UPDATE spoils_batches SET active = 2")
    assert recount_batch(members.connection, batch_id) is False
    assert members.counts(batch_id) == {"total": 1, "active": 2, "finished": 1}


def test_a_member_adds_members_in_the_transaction_of_its_completion(members: Members, engine: Engine) -> None:
    batch_id = members.enqueue(1)
    (claim,) = members.take()
    assert claim.batch_id == str(batch_id)
    batch = new_batch(then=None, name=None, on="end")
    batch.enqueue(SampleJob(number=8), priority=2)
    with held(engine) as job:
        end(job, members.worker, claim)
        put_batches(job, [], claim.batch_id, batch.members)
        job.commit()
    assert members.counts(batch_id) == {"total": 2, "active": 1, "finished": 1}
    assert members.thens() == []
    members.end(*members.take())
    assert [then["total"] for then in members.thens()] == [2]


def test_a_batch_takes_no_more_members_once_it_is_closed() -> None:
    batch = new_batch(then=None, name=None, on="end")
    batch.close()
    with pytest.raises(BatchClosed):
        batch.enqueue(SampleJob())


def test_a_condition_or_a_name_that_cannot_be_is_refused(connection: Connection) -> None:
    with pytest.raises(ValueError, match='on is "end" or "success"'):
        new_batch(then=None, name=None, on="always")  # type: ignore[arg-type]
    for name in ("x" * 201, "two\nlines", "\0"):
        with pytest.raises(ValueError, match="printable"):
            new_batch(then=None, name=name, on="end")
