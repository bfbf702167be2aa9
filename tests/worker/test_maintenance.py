"""The housework: orphans go back, foreign tasks only when told so, and deltas are folded."""

import threading
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import Engine, text

from spoils.worker.maintenance import EVERY_SECONDS, Maintenance
from tests.rows import Rows


def maintenance(engine: Engine, **options: Any) -> Maintenance:
    given = {"worker_id": uuid4(), "shared_with_fang": False, "foreign_claim_timeout": None, **options}
    return Maintenance(engine=engine, task_types=["sample", "common"], turn=threading.Lock(), **given)


@pytest.mark.parametrize(
    ("timeout", "state"), [(None, "in_progress"), (3600.0, "in_progress"), (10.0, "new")]
)
def test_one_round_of_it(engine: Engine, rows: Rows, timeout: float | None, state: str) -> None:
    orphan, foreign = rows.task(state="in_progress", claimed_by=uuid4()), rows.task(state="in_progress")
    rows.connection.execute(text("UPDATE fang_tasks SET updated_at = now() - interval '1 minute'"))
    rows.connection.execute(
        text(
            "INSERT INTO spoils_minutes (minute, task_type, outcome, bucket, count, ran_ms) "
            "SELECT date_trunc('minute', now()) - interval '40 min', 't', 'failed', 1, 1, 1 FROM generate_series(1, 3)"
        )
    )
    assert maintenance(engine, foreign_claim_timeout=timeout).tick() == EVERY_SECONDS
    assert rows.state(orphan) == "new"
    assert rows.state(foreign) == state
    assert rows.all("SELECT count, ran_ms FROM spoils_minutes") == [(3, 3)]
    assert rows.all("SELECT count, ran_ms FROM spoils_totals") == [(3, 3)]


@pytest.mark.parametrize(("shared", "state"), [(False, "failed"), (True, "new")])
def test_tasks_of_a_class_that_no_worker_knows_are_failed_unless_a_rust_worker_may_know_it(
    *, engine: Engine, rows: Rows, shared: bool, state: str
) -> None:
    me = rows.worker(job_classes={"SampleJob": "1"}, started_ago=700)
    gone = rows.task(metadata={"type": "GoneJob"}, due_in=-25 * 3600)
    common = rows.task(metadata={"type": "GoneJob"}, due_in=-25 * 3600, task_type="common")
    maintenance(engine, worker_id=me, shared_with_fang=shared).tick()
    assert rows.state(gone) == state
    assert rows.state(common) == "new"
