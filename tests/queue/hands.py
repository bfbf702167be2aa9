"""A worker's hands: claiming and settling in one line."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection

from spoils.job.outcome import FINISHED, Verdict
from spoils.queue.claim import Claim, claim, claim_suspect
from spoils.queue.claim_scan import ClaimScan
from spoils.queue.settle import settle
from spoils.queue.settlement import Settlement
from tests.support import eventually

TYPES = ("sample", "unique_sample", "common")
KINDS = ("SampleJob", "UniqueSampleJob")


def take(
    connection: Connection,
    worker_id: UUID,
    limit: int = 1,
    *,
    task_types: Sequence[str] = TYPES,
    kinds: Sequence[str] = KINDS,
) -> list[Claim]:
    claims, _ = claim(
        connection,
        worker_id=worker_id,
        scan=ClaimScan(task_types),
        kinds=kinds,
        limit=limit,
    )
    return claims


def take_suspect(
    connection: Connection,
    worker_id: UUID,
    *,
    task_types: Sequence[str] = TYPES,
    kinds: Sequence[str] = KINDS,
) -> list[Claim]:
    return claim_suspect(connection, worker_id=worker_id, task_types=task_types, kinds=kinds)


def end(
    connection: Connection,
    worker_id: UUID,
    *claims: Claim,
    verdict: Verdict = FINISHED,
    ran_ms: int = 5,
    skip_locked: bool = False,
) -> set[UUID]:
    settlements = [Settlement(one.key, one.attempts, verdict, one.claimed_at, ran_ms) for one in claims]
    written = settle(connection, settlements, worker_id=worker_id, release="v1", skip_locked=skip_locked)
    return {UUID(key) for key in written}


def moment(printed: str) -> datetime:
    """What a claim says of a moment, as rows have it."""
    return datetime.fromisoformat(printed)


def heard(connection: Connection, number: int) -> list[str]:
    """The first so many notifications that come on a connection which listens."""
    driver = connection.connection.driver_connection
    assert driver is not None

    def all_heard() -> list[str]:
        driver.poll()
        assert len(driver.notifies) >= number
        return [note.payload for note in driver.notifies]

    return eventually(all_heard)


def explaining(statement: str) -> str:
    """Ask for the plan instead. Behind a pooler the rules of the connection come first in the text."""
    rules, semicolon, rest = statement.rpartition("; ")
    return f"{rules}{semicolon}EXPLAIN {rest}"
