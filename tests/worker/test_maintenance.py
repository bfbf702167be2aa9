"""The housework: orphans go back, foreign tasks only when told so, and deltas are folded."""

import threading
from uuid import uuid4

import pytest
from sqlalchemy import Engine, text

from spoils.worker.maintenance import EVERY_SECONDS, Maintenance
from tests.rows import Rows


@pytest.mark.parametrize(
    ("timeout", "state"), [(None, "in_progress"), (3600.0, "in_progress"), (10.0, "new")]
)
def test_one_round_of_it(engine: Engine, rows: Rows, timeout: float | None, state: str) -> None:
    orphan, foreign = rows.task(state="in_progress", claimed_by=uuid4()), rows.task(state="in_progress")
    rows.connection.execute(text("UPDATE fang_tasks SET updated_at = now() - interval '1 minute'"))
    rows.connection.execute(
        text(
            "INSERT INTO spoils_minutes (minute, task_type, outcome, bucket, count, ran_ms) "
            "SELECT date_trunc('minute', now()) - interval '5 min', 't', 'finished', 1, 1, 1 FROM generate_series(1, 3)"
        )
    )
    assert (
        Maintenance(engine=engine, foreign_claim_timeout=timeout, turn=threading.Lock()).tick()
        == EVERY_SECONDS
    )
    assert rows.state(orphan) == "new"
    assert rows.state(foreign) == state
    assert rows.all("SELECT count, ran_ms FROM spoils_minutes") == [(3, 3)]
