"""Rows that no release wrote: whatever stands in the table, it ends in an outcome and stops nobody else's."""

from uuid import UUID

import pytest
from sqlalchemy import Connection, text

from tests.faults import invariants
from tests.faults.workers import all_end, enqueue_all
from tests.programs import worker
from tests.rows import Rows
from tests.sample_jobs import SampleJob
from tests.support import eventually

pytestmark = pytest.mark.process


def test_rows_of_any_shape_are_failed_with_a_sentence_and_stop_no_other(
    database_url: str, connection: Connection, rows: Rows
) -> None:
    misfits = [
        rows.task(metadata=metadata)
        for metadata in (
            [],
            [1, 2],
            "text",
            7,
            False,
            {},
            {"type": None},
            {"type": 5},
            {"type": ["SampleJob"]},
            {"type": "SampleJob", "number": "seven"},
            {"type": "SampleJob", "number": 1.5},
            {"type": "SampleJob", "number": None},
            {"type": "PickyJob", "how": "raise"},
            {"type": "PickyJob", "how": "exit"},
            {"type": "WorkJob"},
        )
    ]
    misfits.append(rows.task(metadata={}, state="retried", retries=-1))
    misfits.append(raw(rows, "null"))
    misfits.append(raw(rows, '{"type": "SampleJob", "number": ' + "9" * 5000 + "}"))
    misfits.append(raw(rows, '{"type": "SampleJob", "number": ' + "[" * 3000 + "]" * 3000 + "}"))
    good = enqueue_all(connection, [SampleJob(number=number) for number in range(20)])
    good.append(rows.task(metadata={"type": "SampleJob", "number": 10**30, "other": {"deep": [[[[]]]]}}))
    good.append(raw(rows, '{"type": "SampleJob", "number": 1e400}'))
    others = [rows.task(metadata={"type": "Elsewhere"}, task_type=name) for name in ("common", "sample")]
    with worker(database_url, WORKER_THREADS="2"):
        all_end(rows, good, timeout=30)
        all_end(rows, misfits, timeout=30, state="failed")
    beginnings = ('The metadata has no "type"', "The payload does not fit ", "KeyError: ", "SystemExit: ")
    for (sentence,) in rows.all("SELECT error_message FROM fang_tasks WHERE state = 'failed'"):
        assert sentence.startswith(beginnings)
    assert [rows.state(task_id) for task_id in others] == ["new", "new"]
    invariants.check(rows, [*misfits, *good, *others])


def test_a_row_due_since_a_moment_that_python_cannot_tell_runs_like_any_other(
    database_url: str, connection: Connection, rows: Rows
) -> None:
    moments = ["-infinity", "0044-03-15 12:00:00+00 BC", "0001-01-01 00:00:00+00"]
    odd = [rows.task(task_type="sample") for _ in moments]
    never = rows.task(task_type="sample", metadata={"type": "SampleJob"})
    far = rows.task(task_type="sample", metadata={"type": "SampleJob"})
    set_moment = text("UPDATE fang_tasks SET scheduled_at = CAST(:moment AS timestamptz) WHERE id = :id")
    for moment, task_id in zip(moments, odd, strict=True):
        connection.execute(set_moment, {"moment": moment, "id": task_id})
    connection.execute(set_moment, {"moment": "infinity", "id": never})
    connection.execute(set_moment, {"moment": "294276-12-31 23:59:59+00", "id": far})
    good = enqueue_all(connection, [SampleJob(number=number) for number in range(5)])
    with worker(database_url):
        all_end(rows, [*odd, *good], timeout=30)
    assert rows.value("SELECT max(attempts) FROM fang_tasks") == 1
    states = rows.all("SELECT state::text FROM fang_tasks WHERE id = ANY(:ids)", ids=[never, far])
    assert states == [("new",), ("new",)]


def test_numbers_at_their_ends_stop_nobody(database_url: str, connection: Connection, rows: Rows) -> None:
    odd = [
        rows.task(task_type="raising", metadata={"type": "RaisingJob"}, state="retried", **columns)
        for columns in ({"retries": -1}, {"retries": 2147483647}, {"crashes": -5})
    ]
    good = enqueue_all(connection, [SampleJob(number=number) for number in range(5)])
    with worker(database_url):
        all_end(rows, good, timeout=20)

        recorded = "SELECT count(DISTINCT task_id) FROM spoils_attempts"
        eventually(lambda: rows.value(recorded) == len(odd), 20)
    for task_id in odd:
        assert rows.state(task_id) in ("retried", "new", "failed")


def raw(rows: Rows, metadata: str) -> UUID:
    """Insert metadata that Python's own JSON writer would refuse to write."""
    task_id = rows.task()
    rows.connection.execute(
        text("UPDATE fang_tasks SET metadata = CAST(:metadata AS jsonb) WHERE id = :id"),
        {"metadata": metadata, "id": task_id},
    )
    return task_id
