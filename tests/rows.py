"""Rows in any state, put in directly, so that a test of a rescue is three lines."""

import json
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import Connection, Row, text

from spoils.queue import worker_rows
from spoils.queue.minute_stats import bucket
from tests.support import eventually


class Rows:
    """Makes and reads rows on one connection."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    def task(
        self,
        *,
        state: str = "new",
        metadata: object = None,
        task_type: str = "sample",
        due_in: float = 0,
        **columns: Any,
    ) -> UUID:
        """Insert a task that is due in `due_in` seconds; `columns` are any others of the table."""
        values = {
            "id": uuid4(),
            "state": state,
            "metadata": json.dumps({"type": "SampleJob"} if metadata is None else metadata),
            "task_type": task_type,
            **columns,
        }
        self._insert("fang_tasks", "scheduled_at", due_in, values)
        return values["id"]

    def attempt(
        self, task_id: UUID, attempt: int = 1, outcome: str = "retried", *, ago: float = 0, **columns: Any
    ) -> None:
        """Insert an attempt that ended `ago` seconds ago; `columns` are any others of the table."""
        values = {
            "task_id": task_id,
            "attempt": attempt,
            "outcome": outcome,
            "task_type": "sample",
            **columns,
        }
        self._insert("spoils_attempts", "ended_at", -ago, values)

    def ended(
        self,
        count: int,
        minutes_ago: float = 3,
        ran_ms: int = 341,
        *,
        task_type: str = "fetch_product",
        **columns: Any,
    ) -> None:
        """Attempts that ended so many whole minutes ago, each after `ran_ms`."""
        values = {"outcome": "finished", "bucket": bucket(ran_ms), "task_type": task_type, **columns}
        values = {**values, "count": count, "ran_ms": ran_ms * count}
        self._insert("spoils_minutes", "minute", -60 * int(minutes_ago), values, whole="minute")

    def _insert(
        self, table: str, moment: str, seconds: float, values: dict[str, Any], *, whole: str = "microsecond"
    ) -> None:
        names = ", ".join(values)
        places = ", ".join(f":{name}" for name in values)
        self.connection.execute(
            text(
                f"INSERT INTO {table} ({moment}, {names}) "
                f"VALUES (date_trunc(:whole, now() + make_interval(secs => :seconds)), {places})"
            ),
            {**values, "seconds": seconds, "whole": whole},
        )

    def worker(
        self,
        *,
        silent_for: float = 0,
        ended: bool = False,
        locked: bool = False,
        job_classes: dict[str, str] | None = None,
        started_ago: float = 0,
    ) -> UUID:
        """Insert a worker whose last heartbeat was `silent_for` seconds ago; `locked` takes its lock.

        Without `job_classes` it is one of a release that does not publish them.
        """
        worker_id = uuid4()
        self.connection.execute(
            text(
                "INSERT INTO spoils_workers (id, host, pid, release, task_types, threads, lock_key, beat_at, ended_at, "
                "job_classes, started_at) "
                "VALUES (:id, 'test', 1, 'dev', '{sample}', 5, :key, now() - make_interval(secs => :silent), :ended, "
                "CAST(:job_classes AS jsonb), now() - make_interval(secs => :started_ago))"
            ),
            {
                "id": worker_id,
                "key": worker_rows.lock_key(worker_id),
                "silent": silent_for,
                "ended": datetime.now().astimezone() if ended else None,
                "job_classes": None if job_classes is None else json.dumps(job_classes),
                "started_ago": started_ago,
            },
        )
        if locked:
            assert worker_rows.take_lock(self.connection, worker_id)
        return worker_id

    def one(self, task_id: UUID) -> Row[Any]:
        """The task's whole row."""
        return self.connection.execute(text("SELECT * FROM fang_tasks WHERE id = :id"), {"id": task_id}).one()

    def state(self, task_id: UUID) -> str:
        return str(self.one(task_id).state)

    def all(self, statement: str, **values: object) -> list[tuple[Any, ...]]:
        """The rows of any statement, as tuples."""
        return [tuple(row) for row in self.connection.execute(text(statement), values)]

    def value(self, statement: str, **values: object) -> Any:
        """The one value of any statement."""
        return self.connection.execute(text(statement), values).scalar_one()

    def becomes(self, task_id: UUID, state: str, timeout: float = 15.0) -> Row[Any]:
        """Wait until the task is in that state; its row."""

        def in_state() -> Row[Any]:
            row = self.one(task_id)
            assert row.state == state, row
            return row

        return eventually(in_state, timeout)

    def effects(self, name: str) -> int:
        """How often jobs have left this sign (tests/sample_jobs.py)."""
        return int(self.value("SELECT count(*) FROM effects WHERE name = :name", name=name))

    def effect(self, name: str) -> None:
        """Wait until a job has left this sign."""
        eventually(lambda: self.effects(name) == 1)
