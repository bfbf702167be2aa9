"""The SQL of the guide, as a reader types it into psql, shows on our table what the guide says that it shows."""

import re
import subprocess
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection

from spoils.db.embedded import programs
from tests.rows import Rows

GUIDE = Path(__file__).resolve().parent.parent / "docs" / "guide.md"

PENDING = """
SELECT id, task_type, state, retries, created_at
FROM fang_tasks
WHERE state = 'new'
ORDER BY scheduled_at;
"""
FAILED = """
SELECT id, task_type, error_message, retries, created_at
FROM fang_tasks
WHERE state = 'failed';
"""
HISTORY = """
SELECT id, task_type, state, metadata, created_at
FROM fang_tasks
WHERE metadata->>'barcode' = '737628064502'
ORDER BY created_at DESC;
"""
BY_STATE = """
SELECT state, COUNT(*)
FROM fang_tasks
GROUP BY state;
"""
BY_TYPE = """
SELECT task_type, state, COUNT(*)
FROM fang_tasks
GROUP BY task_type, state
ORDER BY task_type, state;
"""
MONITORING = """
-- Active jobs
SELECT COUNT(*) FROM fang_tasks WHERE state = 'in_progress';

-- Pending jobs
SELECT COUNT(*) FROM fang_tasks WHERE state = 'new';

-- Failed jobs (last hour)
SELECT COUNT(*) FROM fang_tasks
WHERE state = 'failed'
  AND created_at > NOW() - INTERVAL '1 hour';

-- Average processing time by job type
SELECT
    task_type,
    AVG(EXTRACT(EPOCH FROM (updated_at - created_at))) as avg_seconds
FROM fang_tasks
WHERE state = 'finished'
GROUP BY task_type;
"""
# These two stand in the running text.
ERRORS = "SELECT * FROM fang_tasks WHERE state = 'failed' LIMIT 10;"
ERROR_MESSAGES = (
    "SELECT error_message, COUNT(*) FROM fang_tasks WHERE state = 'failed' GROUP BY error_message;"
)
ALL = [PENDING, FAILED, HISTORY, BY_STATE, BY_TYPE, MONITORING, ERRORS, ERROR_MESSAGES]

BARCODE = {"type": "FetchProductJob", "barcode": "737628064502"}
OTHER = {"type": "FetchProductJob", "barcode": "3017620422003"}


class Tasks:
    """One row or more in each state."""

    def __init__(self, rows: Rows) -> None:
        """Put them in."""

        def put(state: str, task_type: str = "fetch_product", ago: str = "0 min", **more: Any) -> str:
            made = rows.task(state=state, task_type=task_type, **more)
            rows.all(
                "UPDATE fang_tasks SET created_at = now() - cast(:ago AS interval) WHERE id = :id RETURNING id",
                ago=ago,
                id=made,
            )
            return str(made)

        self.later = put("new", metadata=OTHER, due_in=60)
        self.sooner = put("new", "cleanup", due_in=-60)
        self.retried = put("retried", metadata=BARCODE, ago="1 min", error_message="503", retries=1)
        self.running = put("in_progress", "send_notification")
        self.failed = put("failed", metadata=BARCODE, ago="3 min", error_message="404", retries=3)
        self.failed_long_ago = put("failed", ago="2 hours", error_message="404")
        self.failed_otherwise = put("failed", "cleanup", error_message="boom")
        self.finished = put("finished", metadata=BARCODE, ago="2 min")
        rows.all(
            "UPDATE fang_tasks SET updated_at = created_at + interval '90 s' WHERE state = 'finished' RETURNING id"
        )


@pytest.fixture
def tasks(rows: Rows) -> Tasks:
    return Tasks(rows)


def shown(connection: Connection, query: str) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in connection.exec_driver_sql(query)]


def ids(connection: Connection, query: str) -> list[str]:
    return [str(row[0]) for row in shown(connection, query)]


def test_pending_jobs_are_the_new_ones_the_next_due_first(connection: Connection, tasks: Tasks) -> None:
    assert ids(connection, PENDING) == [tasks.sooner, tasks.later]


def test_failed_jobs_come_with_their_error_and_their_retries(connection: Connection, tasks: Tasks) -> None:
    found = {str(row[0]): row[1:4] for row in shown(connection, FAILED)}
    assert found == {
        tasks.failed: ("fetch_product", "404", 3),
        tasks.failed_long_ago: ("fetch_product", "404", 0),
        tasks.failed_otherwise: ("cleanup", "boom", 0),
    }


def test_the_history_of_a_barcode_is_its_jobs_the_youngest_first(
    connection: Connection, tasks: Tasks
) -> None:
    assert ids(connection, HISTORY) == [tasks.retried, tasks.finished, tasks.failed]
    assert {row[3]["barcode"] for row in shown(connection, HISTORY)} == {"737628064502"}


def test_jobs_are_counted_by_state_and_by_type(connection: Connection, tasks: Tasks) -> None:
    assert set(shown(connection, BY_STATE)) == {
        ("new", 2),
        ("in_progress", 1),
        ("failed", 3),
        ("finished", 1),
        ("retried", 1),
    }
    # States sort in the order of the type.
    assert shown(connection, BY_TYPE) == [
        ("cleanup", "new", 1),
        ("cleanup", "failed", 1),
        ("fetch_product", "new", 1),
        ("fetch_product", "failed", 2),
        ("fetch_product", "finished", 1),
        ("fetch_product", "retried", 1),
        ("send_notification", "in_progress", 1),
    ]


def test_the_queries_of_monitoring_tell_what_their_comments_say(connection: Connection, tasks: Tasks) -> None:
    active, pending, failed_last_hour, average = statements(MONITORING)
    assert shown(connection, active) == [(1,)]
    assert shown(connection, pending) == [(2,)]
    assert shown(connection, failed_last_hour) == [(2,)]
    assert shown(connection, average) == [("fetch_product", Decimal(90))]


def test_the_queries_of_troubleshooting_show_the_errors(connection: Connection, tasks: Tasks) -> None:
    assert set(ids(connection, ERRORS)) == {tasks.failed, tasks.failed_long_ago, tasks.failed_otherwise}
    assert set(shown(connection, ERROR_MESSAGES)) == {("404", 2), ("boom", 1)}


def test_psql_takes_all_of_it_as_it_stands(database_url: str, tasks: Tasks) -> None:
    psql = subprocess.run(
        [programs() / "psql", "--no-psqlrc", "--set=ON_ERROR_STOP=1", database_url],
        input="\n".join(ALL),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (psql.returncode, psql.stderr) == (0, "")
    assert "737628064502" in psql.stdout
    assert psql.stdout.count(" row") == 11


def statements(sql: str) -> list[str]:
    """The statements of a block, without its comments."""
    bare = re.sub(r"--.*", "", sql)
    return [statement.strip() for statement in bare.split(";") if statement.strip()]


def blocks() -> list[str]:
    """Every SQL block of our guide, and what stands as SQL in its running text."""
    text = GUIDE.read_text()
    fenced = re.findall(r"^```sql\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    return [*fenced, *re.findall(r"`((?:SELECT|UPDATE|DELETE|INSERT)\b[^`]*;)`", text)]


@pytest.mark.parametrize("query", ALL)
def test_our_guide_still_holds_the_query(query: str) -> None:
    written = [statement for block in blocks() for statement in statements(block)]
    assert set(statements(query)) <= set(written)


@pytest.mark.parametrize(
    "statement",
    [
        one
        for block in blocks()
        for one in statements(block)
        # Its CREATE statements are the schema, which the tests of the migrations hold against ours.
        if not one.startswith("CREATE")
    ],
)
def test_every_statement_of_our_guide_runs(connection: Connection, tasks: Tasks, statement: str) -> None:
    connection.exec_driver_sql(statement)
