"""Batches and chains: enqueueing one, reading it, and correcting its counts.

The triggers of revision 0016 count the members and enqueue what follows, in the commit of the last outcome.
"""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Engine, Text, bindparam, cast, func, select, update
from sqlalchemy.dialects.postgresql import JSONB

from spoils.job import Job
from spoils.job.base import Batch, Chain, Member
from spoils.job.batch import Condition
from spoils.models import ACTIVE, Task
from spoils.models import Batch as Row
from spoils.queue.enqueue import row
from spoils.queue.ids import new_key, new_keys


def new_batch(*, then: Job | None, name: str | None, on: Condition) -> Batch:
    """A batch without members. Raises PayloadError or ValueError where an argument is wrong."""
    return Batch(UUID(new_key()), then=then, name=name, on=on)


def new_chain(jobs: Sequence[Job], *, name: str | None, at: datetime | None, priority: int) -> Chain:
    """A chain of these jobs; `at` is that of the first."""
    links = [Member(job, None if place else at, priority) for place, job in enumerate(jobs)]
    return Chain(UUID(new_key()), links, name=name)


def as_json(one: Batch | Chain) -> tuple[str, str]:
    """The two arguments of `spoils_put_batch`: the batch, and the tasks that are enqueued with it.

    Raises PayloadError with a sentence. `then` and the links of a chain always run: they have no hash.
    """
    if isinstance(one, Batch):
        then = _tasks([Member(one.then)], unique=False)[0] if one.then else None
        batch = {"id": str(one.id), "name": one.name, "condition": one.on, "then": then, "links": None}
        return json.dumps(batch), json.dumps(_tasks(one.members))
    first, *others = _tasks(one.links, unique=False)
    chain = {"id": str(one.id), "name": one.name, "condition": "success", "then": None, "links": others}
    return json.dumps(chain), json.dumps([first])


def _tasks(members: Sequence[Member], *, unique: bool = True) -> list[dict[str, Any]]:
    """The elements that `spoils_put` takes."""
    rows = [
        row(member.job, at=member.at, priority=member.priority, key=key)
        for member, key in zip(members, new_keys(len(members)), strict=True)
    ]
    return [
        {
            **one,
            "metadata": json.loads(one["metadata"]),
            "at": one["at"] and one["at"].isoformat(),
            "uniq_hash": one["uniq_hash"] if unique else None,
        }
        for one in rows
    ]


def _json(name: str) -> Any:
    return cast(bindparam(name, type_=Text), JSONB)


_PUT = select(func.count()).select_from(
    func.spoils_put_batch(_json("batch"), _json("tasks")).table_valued("place")
)
_ADD = select(func.count()).select_from(
    func.spoils_add_members(bindparam("batch_id"), _json("tasks")).table_valued("place")
)


def put_batch(connection: Connection, one: Batch | Chain) -> None:
    """Enqueue a batch with its members, or a chain with its first link; part of the connection's transaction."""
    batch, tasks = as_json(one)
    connection.execute(_PUT, {"batch": batch, "tasks": tasks})


def put_batches(
    connection: Connection, batches: Sequence[Batch | Chain], own_batch: str | None, added: Sequence[Member]
) -> None:
    """Enqueue what a job has asked for at its completion: batches, chains, and members that it adds to its own batch.

    After that completion, so that tasks are locked before batches everywhere. A batch ends at the earliest with the
    transaction.
    """
    for one in batches:
        put_batch(connection, one)
    if added and own_batch is not None:
        values = {"batch_id": UUID(own_batch), "tasks": json.dumps(_tasks(added))}
        connection.execute(_ADD, values)


def recount_batches(engine: Engine) -> int:
    """Correct the number of active members of each open batch; how many of them were wrong.

    It is wrong only where triggers did not run as usual: after a restore of data alone, or where the owner had lost the
    right to write. A batch that should have ended ends then.
    """
    with engine.connect() as connection:
        batches = connection.scalars(select(Row.id).where(Row.ended_at.is_(None)).order_by(Row.id)).all()
    wrong = 0
    for batch_id in batches:
        with engine.begin() as connection:
            wrong += recount_batch(connection, batch_id)
    return wrong


def recount_batch(connection: Connection, batch_id: UUID) -> bool:
    """Correct one, as `recount_batches` does, if it has not ended; whether it was wrong. Part of the transaction."""
    # The lock first, in a statement of its own: the count then sees exactly the changes that are in the row.
    stored = connection.scalar(
        select(Row.active).where(Row.id == batch_id, Row.ended_at.is_(None)).with_for_update()
    )
    if stored is None:
        return False
    active = connection.scalar(select(func.count()).where(Task.batch_id == batch_id, Task.state.in_(ACTIVE)))
    missing = (active or 0) - stored
    if missing or not active:
        # Also where nothing is missing but the end: the trigger then decides again whether that is due.
        corrected = {"active": Row.active + missing, "total": Row.total + missing}
        connection.execute(update(Row).where(Row.id == batch_id).values(corrected))
    return missing != 0
