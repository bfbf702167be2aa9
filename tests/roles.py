"""Roles of the server with few rights, and connections as them."""

from collections.abc import Iterator
from contextlib import contextmanager
from uuid import uuid4

from sqlalchemy import Connection, make_url


@contextmanager
def a_role(administrator: Connection) -> Iterator[str]:
    """Make a role without any right. The databases in which it gets some must be gone at its end, or the rights."""
    name = f"role_{uuid4().hex}"
    administrator.exec_driver_sql(f"CREATE ROLE {name}")
    yield name
    administrator.exec_driver_sql(f"DROP ROLE {name}")


def as_role(url: str, role: str) -> str:
    """The same database, where each session acts as `role`."""
    options = {"options": f"-c role={role}"}
    return make_url(url).update_query_dict(options).render_as_string(hide_password=False)
