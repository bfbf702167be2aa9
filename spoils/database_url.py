"""A database's URL, checked without a connection to that database."""

from typing import Any

import psycopg2
from sqlalchemy.dialects.postgresql.psycopg2 import PGDialect_psycopg2
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

# libpq checks every option before it connects. No socket can exist at this path, and only an attempt to connect to it
# names it.
_NOWHERE = "/dev/null"
_FORM = (
    "its form is postgresql://user:password@host:5432/database with one host and a number as the port. "
    "In the password, write : / @ ? # as %3A %2F %40 %3F %23"
)


def connection_arguments(url: str) -> dict[str, Any]:
    """What the URL means to the driver. Raises ValueError with a sentence, which holds no secret."""
    try:
        parsed = make_url(url)
        dialect = PGDialect_psycopg2()  # type: ignore[no-untyped-call]
        arguments: dict[str, Any] = dialect.create_connect_args(parsed)[1]  # type: ignore[no-untyped-call]
    except (ArgumentError, ValueError):
        # SQLAlchemy's own message may quote a part of the password.
        raise ValueError(_FORM) from None
    if parsed.port == 0 or "@" in (parsed.host or ""):
        raise ValueError(_FORM)
    if any("," in str(arguments.get(name, "")) for name in ("host", "hostaddr", "port")):
        raise ValueError("it names several hosts. Give one name that always leads to the primary")
    if twice := [name for name, value in arguments.items() if isinstance(value, (tuple, list))]:
        raise ValueError(f'the option "{twice[0]}" is given twice')
    if complaint := _complaint({**arguments, "host": _NOWHERE}):
        raise ValueError(complaint)
    return arguments


def without_password(url: str) -> tuple[str, str | None]:
    """The URL for a command line, which every process of the machine may read, and the password."""
    parsed = make_url(url)
    given = parsed.password or parsed.query.get("password")
    bare = parsed._replace(password=None).difference_update_query(["password"])
    return bare.render_as_string(), given if isinstance(given, str) else None


def _complaint(arguments: dict[str, Any]) -> str | None:
    arguments.pop("hostaddr", None)
    try:
        psycopg2.connect(**arguments).close()
    except (psycopg2.Error, ValueError) as exc:  # ValueError: a null character
        reason = str(exc).strip()
        return None if _NOWHERE in reason else reason.removeprefix("invalid dsn: ")
    return None
