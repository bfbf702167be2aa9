"""Waiting for what real workers do."""

from uuid import UUID

from tests.rows import Rows
from tests.support import eventually


def told(rows: Rows, name: str) -> int:
    return int(rows.value("SELECT count(*) FROM effects WHERE name = :name", name=name))


def comes(rows: Rows, task_id: UUID, state: str, timeout: float = 15.0) -> None:
    def look() -> None:
        assert rows.state(task_id) == state

    eventually(look, timeout)


def starts(rows: Rows, name: str) -> None:
    def look() -> None:
        assert told(rows, f"{name} started") == 1

    eventually(look)
