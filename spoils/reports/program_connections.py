"""The database connections of the queue's programs, which name themselves in `application_name`."""

from collections import Counter
from uuid import UUID

from sqlalchemy import Connection, column, func, select, table

PREFIX = "spoils:"
WORKER, OTHER = "worker", "other"
PROGRAMS = ("client", "start", "web", WORKER)
"""`start` are the commands, and each program while it starts."""

_activity = table("pg_stat_activity", column("datname"), column("application_name")).c
# Every role sees the names of all sessions.
_SESSIONS = (
    select(_activity.application_name, func.count())
    .where(
        _activity.datname == func.current_database(),
        _activity.application_name.startswith(PREFIX, autoescape=True),
    )
    .group_by(_activity.application_name)
)


def connections_by_program(connection: Connection) -> Counter[str]:
    """How many connections to this database each program holds."""
    found = Counter(dict.fromkeys(PROGRAMS, 0))
    for name, number in connection.execute(_SESSIONS):
        found[_program(name.removeprefix(PREFIX))] += number
    return found


def _program(name: str) -> str:
    if name in PROGRAMS:
        return name
    try:
        UUID(name)
    except ValueError:
        return OTHER
    return WORKER
