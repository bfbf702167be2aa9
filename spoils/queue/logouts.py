"""Ending a login of the dashboard: a cookie cannot be taken back, so a table holds the logins that a logout ended."""

from uuid import UUID

from sqlalchemy import Connection, exists, select
from sqlalchemy.dialects.postgresql import insert

from spoils.models import Logout


def end_login(connection: Connection, login: UUID) -> None:
    """Refuse every cookie of this login from now on; ending it twice changes nothing."""
    connection.execute(insert(Logout).values(login=login).on_conflict_do_nothing())


def has_ended(connection: Connection, login: UUID) -> bool:
    """Whether a logout has ended this login."""
    return bool(connection.scalar(select(exists().where(Logout.login == login))))
