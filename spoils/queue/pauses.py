"""Pausing and resuming: a task type, of which workers then claim nothing, or a schedule, whose ticks are skipped."""

from collections.abc import Mapping

from sqlalchemy import Connection, delete, select
from sqlalchemy.dialects.postgresql import insert

from spoils.models import Pause, PauseKind


def pause(connection: Connection, kind: PauseKind, name: str, *, by: str) -> bool:
    """Pause it; False where it was paused already. Workers learn of it with their next heartbeat, within a second."""
    statement = insert(Pause).values(kind=kind.value, name=name, paused_by=by).on_conflict_do_nothing()
    return connection.execute(statement).rowcount == 1


def resume(connection: Connection, kind: PauseKind, name: str) -> bool:
    """End the pause; False where there was none."""
    statement = delete(Pause).where(Pause.kind == kind.value, Pause.name == name)
    return connection.execute(statement).rowcount == 1


def paused(connection: Connection, kind: PauseKind) -> Mapping[str, Pause]:
    """What of this kind is paused, by name."""
    rows = connection.execute(select(Pause.__table__).where(Pause.kind == kind.value).order_by(Pause.name))
    return {row.name: Pause(**row._mapping) for row in rows}
