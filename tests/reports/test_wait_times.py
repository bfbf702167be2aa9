"""How long jobs waited is exact, of the last ones that finished."""

import re
from datetime import datetime, timedelta
from random import Random

from sqlalchemy import text
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import Session

from spoils.reports import wait_times
from spoils.reports.wait_times import Waited, waited_by_type
from tests.rows import Rows


def waited(
    rows: Rows, seconds: float, *, ended_ago: float = 0, state: str = "finished", **columns: object
) -> None:
    now = moment(rows)
    task_id = rows.task(
        state=state,
        claimed_at=now - timedelta(seconds=ended_ago),
        updated_at=now - timedelta(seconds=ended_ago),
        **columns,  # type: ignore[arg-type]
    )
    rows.all(
        "UPDATE fang_tasks SET scheduled_at = claimed_at - make_interval(secs => :s) WHERE id = :id RETURNING id",
        s=seconds,
        id=task_id,
    )


def moment(rows: Rows) -> datetime:
    found: datetime = rows.value("SELECT now()")
    return found


def test_percentiles_are_those_of_a_sort(rows: Rows, session: Session) -> None:
    times = [float(number) for number in range(1, 101)]
    Random(1).shuffle(times)
    for seconds in times:
        waited(rows, seconds)
    waited(rows, 7, task_type="mail")
    waited(rows, 900, state="failed")
    waited(rows, 900, ended_ago=120)
    rows.task(state="finished")  # claimed by another system, which leaves no time
    found = waited_by_type(session, since=moment(rows) - timedelta(minutes=1))
    assert found == {"sample": Waited(50_000, 95_000), "mail": Waited(7_000, 7_000)}


def test_a_job_that_was_run_before_its_time_has_not_waited(rows: Rows, session: Session) -> None:
    waited(rows, -30)
    waited(rows, 0, task_type="ever")
    rows.all("UPDATE fang_tasks SET scheduled_at = '-infinity' WHERE task_type = 'ever' RETURNING id")
    found = waited_by_type(session, since=moment(rows) - timedelta(minutes=1))
    assert found["sample"] == Waited(0, 0)
    assert found["ever"] == Waited(None, None)


def test_the_last_jobs_are_read_by_an_index_and_no_more_than_the_limit(rows: Rows, session: Session) -> None:
    rows.all(
        "INSERT INTO fang_tasks (metadata, state, updated_at) "
        "SELECT '{}', 'finished', now() - make_interval(secs => n) FROM generate_series(1, 10000) AS n RETURNING 1"
    )
    rows.connection.execute(text("ANALYZE fang_tasks"))
    statement = wait_times._WAITED.params(since=moment(rows) - timedelta(days=1)).compile(
        dialect=postgresql.dialect(), compile_kwargs={"literal_binds": True}
    )
    plan = "\n".join(row[0] for row in rows.all(f"EXPLAIN (ANALYZE) {statement}"))
    assert "Seq Scan" not in plan, plan
    assert re.search(r"using fang_tasks_finished_idx .*actual [^)]*rows=2000", plan), plan
