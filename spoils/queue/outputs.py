"""`spoils_outputs`: what attempts report while they run, written in batches with the worker's heartbeat."""

from collections.abc import Sequence
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Connection, delete, func, select, tuple_
from sqlalchemy.dialects.postgresql import insert

from spoils.job.output import Line, Output, Progress
from spoils.models import Attempt, DbSession
from spoils.models import Output as OutputRow


class OutputOf(NamedTuple):
    """The output of an attempt; `keep` says whether it outlives the attempt."""

    task_id: UUID
    attempt: int
    output: Output
    keep: bool = True


def write_outputs(connection: Connection, found: Sequence[OutputOf]) -> None:
    """Store the outputs to be kept, and forget the others; on an autocommit connection."""
    if kept := {(one.task_id, one.attempt): _row(one) for one in found if one.keep}:
        statement = insert(OutputRow).values(list(kept.values()))
        new = statement.excluded
        values = {name: new[name] for name in ("done", "total", "note", "lines", "updated_at")}
        connection.execute(
            statement.on_conflict_do_update(index_elements=["task_id", "attempt"], set_=values)
        )
    if ended := [(one.task_id, one.attempt) for one in found if not one.keep]:
        # An attempt that another worker has rescued did not finish, whatever it believes itself.
        recorded = (
            select(Attempt.id)
            .where(Attempt.task_id == OutputRow.task_id, Attempt.attempt == OutputRow.attempt)
            .exists()
        )
        key = tuple_(OutputRow.task_id, OutputRow.attempt)
        connection.execute(delete(OutputRow).where(key.in_(ended), ~recorded))


def outputs_of(session: DbSession, task_id: UUID) -> dict[int, OutputRow]:
    """The outputs of a task's attempts, by the number of the attempt."""
    found = session.scalars(select(OutputRow).where(OutputRow.task_id == task_id))
    return {one.attempt: one for one in found}


def progress_of(session: DbSession, attempts: Sequence[tuple[UUID, int]]) -> dict[UUID, Progress]:
    """The progress that these attempts report, by the ids of their tasks."""
    if not attempts:
        return {}
    key = tuple_(OutputRow.task_id, OutputRow.attempt)
    found = select(OutputRow.task_id, OutputRow.done, OutputRow.total, OutputRow.note).where(
        key.in_(attempts), OutputRow.done.is_not(None)
    )
    return {row.task_id: Progress(row.done, row.total, row.note) for row in session.execute(found)}


def lines_of(row: OutputRow) -> list[Line]:
    """The log lines in a row."""
    return [Line(*one) for one in row.lines]


def _row(one: OutputOf) -> dict[str, Any]:
    progress = one.output.progress
    return {
        "task_id": one.task_id,
        "attempt": one.attempt,
        "done": progress.done if progress else None,
        "total": progress.of if progress else None,
        "note": progress.note if progress else None,
        "lines": one.output.lines,
        "updated_at": func.clock_timestamp(),
    }
