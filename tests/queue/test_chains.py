"""Chains: each link is enqueued in the commit of the one before, with its result."""

from collections.abc import Sequence
from uuid import UUID

import pytest
from sqlalchemy import Connection, Engine

from spoils.db.engine import transaction
from spoils.job import Job
from spoils.job.outcome import Ending, Report, Verdict
from spoils.queue.actions import act
from spoils.queue.batches import new_chain, put_batch
from spoils.queue.claim import Claim
from spoils.queue.enqueue import enqueue
from spoils.queue.finish import finish_one
from spoils.queue.settlement import Settlement
from tests.locks import held
from tests.queue.hands import end, take
from tests.rows import Rows
from tests.sample_jobs import SampleJob, UniqueSampleJob

FAILED = Verdict(Ending.FAILED, report=Report("ValueError", "boom"))
LINKS = [SampleJob(number=1), UniqueSampleJob(number=2), SampleJob(number=3)]


def chain(connection: Connection, jobs: Sequence[Job] = LINKS) -> UUID:
    made = new_chain(jobs, name=None, at=None, priority=1)
    put_batch(connection, made)
    return made.id


def finish_with(connection: Connection, worker_id: UUID, claim: Claim, result: str) -> None:
    settlement = Settlement(
        claim.key, claim.attempts, Verdict(Ending.FINISHED, result=result), claim.claimed_at, 5
    )
    finish_one(connection, settlement, worker_id=worker_id)


def ended(rows: Rows, chain_id: UUID) -> bool:
    return bool(rows.value("SELECT ended_at IS NOT NULL FROM spoils_batches WHERE id = :id", id=chain_id))


def test_each_link_comes_when_the_one_before_has_finished_and_finds_its_result(
    connection: Connection, rows: Rows
) -> None:
    worker_id = rows.worker()
    chain_id = chain(connection)
    (first,) = take(connection, worker_id, 5)
    assert (first.kind, first.batch_id, first.previous, first.priority) == (
        "SampleJob",
        str(chain_id),
        None,
        1,
    )
    finish_with(connection, worker_id, first, '{"rows": 7}')
    (second,) = take(connection, worker_id, 5)
    assert (second.kind, second.previous, second.priority) == (
        "UniqueSampleJob",
        '{"result": {"rows": 7}}',
        1,
    )
    end(connection, worker_id, second)
    (third,) = take(connection, worker_id, 5)
    assert (third.kind, third.previous) == ("SampleJob", '{"result": null}')
    assert not ended(rows, chain_id)
    end(connection, worker_id, third)
    assert ended(rows, chain_id)
    assert take(connection, worker_id, 5) == []
    assert rows.value("SELECT count(*) FROM fang_tasks") == 3


def test_a_link_that_fails_stops_the_chain_and_its_retry_resumes_it(
    connection: Connection, engine: Engine, rows: Rows
) -> None:
    worker_id = rows.worker()
    chain(connection)
    (first,) = take(connection, worker_id, 5)
    end(connection, worker_id, first, verdict=FAILED)
    assert take(connection, worker_id, 5) == []
    with transaction(engine) as operator:
        act(operator, "retry", first.id, who="admin")
    (again,) = take(connection, worker_id, 5)
    assert again.id == first.id
    end(connection, worker_id, again)
    assert [claim.kind for claim in take(connection, worker_id, 5)] == ["UniqueSampleJob"]


def test_a_link_that_is_deleted_stops_the_chain_and_its_restore_resumes_it(
    connection: Connection, engine: Engine, rows: Rows
) -> None:
    worker_id = rows.worker()
    chain_id = chain(connection)
    first = rows.value("SELECT id FROM fang_tasks")
    for action in ("delete", "restore"):
        assert not ended(rows, chain_id)
        with transaction(engine) as operator:
            assert act(operator, action, first, who="admin").done
        assert rows.value("SELECT count(*) FROM fang_tasks") == (action == "restore")
    end(connection, worker_id, *take(connection, worker_id))
    assert [claim.kind for claim in take(connection, worker_id, 5)] == ["UniqueSampleJob"]


def test_a_link_runs_although_its_duplicate_waits(connection: Connection, rows: Rows) -> None:
    worker_id = rows.worker()
    waits = enqueue(connection, UniqueSampleJob(number=2), priority=-2)
    chain(connection)
    end(connection, worker_id, *take(connection, worker_id))
    (link,) = take(connection, worker_id)
    assert (link.kind, link.id != waits.id) == ("UniqueSampleJob", True)
    assert rows.one(link.id).uniq_hash is None


def test_nothing_follows_an_outcome_that_is_rolled_back(
    connection: Connection, engine: Engine, rows: Rows
) -> None:
    worker_id = rows.worker()
    chain(connection)
    (first,) = take(connection, worker_id)
    with held(engine) as job:
        finish_with(job, worker_id, first, "1")
        job.rollback()
    assert rows.value("SELECT count(*) FROM fang_tasks") == 1
    end(connection, worker_id, first)
    assert rows.value("SELECT count(*) FROM fang_tasks") == 2


def test_a_chain_needs_a_link() -> None:
    with pytest.raises(ValueError, match="at least one job"):
        new_chain([], name=None, at=None, priority=0)
