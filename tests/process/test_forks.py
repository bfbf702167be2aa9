"""Jobs that fork: the process is on its own, and neither holds on to the worker nor disturbs it."""

import os
import signal
from contextlib import suppress

import pytest
from sqlalchemy import Connection

from spoils.queue.enqueue import enqueue
from spoils.worker.forks import InForkedProcess
from tests.programs import worker
from tests.rows import Rows
from tests.sample_jobs import ForkingJob, SampleJob
from tests.support import eventually

REFUSAL = str(InForkedProcess())
pytestmark = pytest.mark.process


ENDINGS = {
    "return": "0 done",
    "exit": "3 ",
    "raise": "1 ",
    "sleep until SIGTERM": f"{-signal.SIGTERM} ",
    "connect": "0 its own",
    "use its session": f"0 {REFUSAL}",
    "use a session that it had": f"0 {REFUSAL}",
    "use the connection beside sockets of its own": "0 refused, 0 written to",
}
"""What a forked process does, and its exit code with what it says."""


def test_a_forked_process_has_no_session_and_its_job_and_worker_go_on(
    database_url: str, connection: Connection, rows: Rows
) -> None:
    forking = {enqueue(connection, ForkingJob(then=then)).id: then for then in ENDINGS}
    with worker(database_url, WORKER_TASK_TYPES="forking,sample", WORKER_THREADS="1") as program:
        for task_id in forking:
            rows.becomes(task_id, "finished")
        after = enqueue(connection, SampleJob()).id
        rows.becomes(after, "finished")
        program.send(signal.SIGTERM)
        assert program.ends() == 0
    effects = rows.all("SELECT task_id, name FROM effects WHERE name NOT LIKE 'child %'")
    assert {forking[task_id]: name for task_id, name in effects} == ENDINGS
    assert len(effects) == len(ENDINGS)


def test_a_forked_process_keeps_no_session_of_a_worker_that_was_killed(
    database_url: str, connection: Connection, rows: Rows
) -> None:
    enqueue(connection, ForkingJob(then="sleep"))

    def child() -> int:
        return int(rows.value("SELECT split_part(name, ' ', 2) FROM effects WHERE name LIKE 'child %'") or 0)

    def sessions() -> int:
        return int(
            rows.value(
                "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'spoils:%-%' "
                "AND datname = current_database()"
            )
        )

    def forked() -> int:
        assert child()
        return child()

    def none_left() -> None:
        assert sessions() == 0

    with worker(database_url, WORKER_TASK_TYPES="forking") as program:
        pid = eventually(forked)
        try:
            assert sessions() >= 3
            program.process.kill()
            eventually(none_left)
            os.kill(pid, 0)  # it lives
        finally:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
