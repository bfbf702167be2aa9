"""Sentry's own SDK in a worker, without an adapter: each failing attempt arrives once, with its traceback."""

import json
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection

from spoils.queue.enqueue import enqueue
from tests.process.sentry_jobs import FinalFailureJob
from tests.programs import JOBS, worker
from tests.rows import Rows
from tests.sample_jobs import RaisingJob, SampleJob, SlowLoopJob

pytestmark = pytest.mark.process


@pytest.mark.parametrize(
    ("level", "expected"),
    [
        ("ERROR", ["LookupError", "PayloadError"]),
        ("WARNING", ["LookupError", "PayloadError", "TimedOut", "ValueError"]),
    ],
)
def test_sentry_gets_each_failing_attempt_once_with_its_traceback_and_its_fields(
    *, database_url: str, connection: Connection, rows: Rows, tmp_path: Path, level: str, expected: list[str]
) -> None:
    file = tmp_path / "events"
    file.touch()
    ends = {
        enqueue(connection, FinalFailureJob()).id: "failed",
        enqueue(connection, RaisingJob()).id: "retried",
        enqueue(connection, SlowLoopJob()).id: "retried",
        rows.task(metadata={"type": "SampleJob", "number": "5"}): "failed",
        enqueue(connection, RaisingJob(what="cancel")).id: "failed",
        enqueue(connection, RaisingJob(what="snooze")).id: "new",
        enqueue(connection, SampleJob()).id: "finished",
    }
    environment = {
        "SPOILS_JOBS": f"{JOBS},tests.process.sentry_jobs",
        "SENTRY_FILE": str(file),
        "SENTRY_LEVEL": level,
    }
    with worker(database_url, **environment) as program:
        for task_id, state in ends.items():
            rows.becomes(task_id, state)
        program.says("Snoozed RaisingJob")
        program.stop()
        # The worker's own log shows what it did before, with secrets masked.
        assert "Failed FinalFailureJob: LookupError: token=" in program.output
        assert "hunter2" not in program.output
        assert "Traceback" not in program.output
    events = [json.loads(line) for line in file.read_text().splitlines()]
    raised = sorted((event for event in events if "exception" in event), key=_kind)
    assert [_kind(event) for event in raised] == expected
    for event in raised:
        assert event["exception"]["values"][-1]["stacktrace"]["frames"]
        assert event["logger"] == "spoils.worker"
        assert event["extra"]["task_id"] in map(str, ends)
        assert (event["extra"]["action"], event["extra"]["attempt"]) == ("settle", 1)


def _kind(event: dict[str, Any]) -> str:
    return str(event["exception"]["values"][-1]["type"])
