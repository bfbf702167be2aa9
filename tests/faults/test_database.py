"""A database that restarts, crashes, is away for a while, or refuses single statements."""

import os
import random
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import Connection, Engine, text

from spoils.db import embedded_server
from spoils.db.embedded import EmbeddedPostgres
from spoils.db.embedded_files import find_files
from spoils.db.engine import make_engine
from spoils.job.outcome import FINISHED, Ending, Verdict
from spoils.queue.claim import claim
from spoils.queue.claim_scan import ClaimScan
from spoils.queue.enqueue import enqueue
from spoils.queue.settlement import Settlement
from spoils.worker.settler import Settler
from tests.databases import migrate_at
from tests.faults import invariants
from tests.faults.jobs import WorkJob
from tests.faults.workers import all_end, enqueue_all, in_flight, work, workers_live_on, workers_run
from tests.programs import worker
from tests.rows import Rows
from tests.sample_jobs import SampleJob
from tests.servers import THROW_AWAY
from tests.support import eventually

pytestmark = pytest.mark.process

RELEASED = Verdict(Ending.RELEASED)
# A sequence keeps its count when the statement that asked it fails.
FAULTY = """
CREATE SEQUENCE {name}_met;
CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF current_setting('application_name') LIKE 'spoils:%' AND ({condition})
        AND nextval('public.{name}_met') <= {times}
    THEN
        RAISE EXCEPTION 'injected' USING ERRCODE = '{code}';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER {name} BEFORE {event} ON {table} FOR EACH ROW EXECUTE FUNCTION {name}();
"""


class Server:
    """A server of the test's own, which may be treated badly."""

    def __init__(self, home: Path) -> None:
        self._postgres = EmbeddedPostgres(
            home, settings={**THROW_AWAY, "fsync": "on", "synchronous_commit": "on"}
        )
        self.url = self._postgres.start()
        self._files = find_files(home / "16", 16)
        migrate_at(self.url)

    def stop_at_once(self) -> None:
        """As a power cut would, but for the disk."""
        embedded_server.halt(self._files, mode="immediate")

    def start(self) -> None:
        self._postgres.start()

    def remove(self) -> None:
        self._postgres.remove()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path / "server")
    yield server
    server.remove()


@contextmanager
def rows_at(url: str) -> Iterator[Rows]:
    """Rows on a connection of its own, which ends before the next restart."""
    engine = make_engine(url, connections=2, application_name="tests", autocommit=True)
    with engine.connect() as connection:
        yield Rows(connection)
    engine.dispose()


@pytest.mark.parametrize("trouble", ["the server crashes", "a backend is killed"])
def test_a_crash_of_the_database_costs_no_job_and_no_worker(server: Server, trouble: str) -> None:
    accepted: list[UUID] = []

    def recovered() -> None:
        with rows_at(server.url) as rows:
            all_end(rows, accepted, timeout=0)

    with rows_at(server.url) as rows:
        invariants.install(rows.connection)
    with ExitStack() as stack:
        programs = [stack.enter_context(worker(server.url, WORKER_THREADS="5")) for _ in range(3)]
        for down_seconds in (0, 5):
            with rows_at(server.url) as rows:
                workers_run(rows, 3)
                accepted += enqueue_all(rows.connection, work(30, seconds=1.5, chains=5, first=len(accepted)))
                in_flight(rows, 10)
                backend = rows.value(
                    "SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'spoils:%' ORDER BY random() LIMIT 1"
                )
            if trouble == "a backend is killed":
                # Which the server answers with ending all of them, and recovering from its log.
                os.kill(backend, signal.SIGKILL)
            else:
                server.stop_at_once()
                programs[0].says("Database unavailable", timeout=30)
                # The pauses of the workers' loops grow meanwhile. None of them ends.
                with pytest.raises(subprocess.TimeoutExpired):
                    programs[0].process.wait(down_seconds)
                server.start()
            eventually(recovered, 60)
        with rows_at(server.url) as rows:
            workers_live_on(rows)
            assert [program.process.poll() for program in programs] == [None, None, None]
            for program in programs:
                # One line an outage, of all that its loops meet; the two may have been one.
                assert len([line for line in program.lines if "Database unavailable" in line]) <= 2
                assert not any("|   File" in line and "/worker/loop.py" in line for line in program.lines)
            assert invariants.declared_dead(rows) == []
            assert rows.value("SELECT max(crashes) FROM fang_tasks") == 0
            invariants.check(rows, accepted)


def refuse(
    connection: Connection, name: str, event: str, table: str, condition: str, *, code: str, times: int = 3
) -> None:
    """Let the database refuse the first `times` statements of workers that meet the condition."""
    faulty = FAULTY.format(name=name, event=event, table=table, condition=condition, code=code, times=times)
    connection.execute(text(faulty.replace(":%", "\\:%")))


def test_every_statement_of_the_queue_s_own_may_fail_and_is_tried_again(
    database_url: str, connection: Connection, rows: Rows, dice: random.Random
) -> None:
    codes = ["40001", "40P01", "55P03", "57014", "57P01", "08006", "53300", "53100", "25006"]
    places = {
        "at_claim": ("UPDATE", "fang_tasks", "OLD.state <> 'in_progress' AND NEW.state = 'in_progress'"),
        "at_settle": ("UPDATE", "fang_tasks", "NEW.state = 'finished'"),
        "at_beat": ("UPDATE", "spoils_workers", "NEW.ended_at IS NULL"),
        "at_enter": ("INSERT", "spoils_workers", "true"),
        "at_tick": ("INSERT", "spoils_ticks", "true"),
        "at_tick_enqueue": ("INSERT", "fang_tasks", "NEW.task_type = 'every_second'"),
        "at_fold": ("INSERT", "spoils_counts", "NEW.delta > 1"),
    }
    for number, (name, (event, table, condition)) in enumerate(places.items()):
        code = codes[(number + dice.randrange(len(codes))) % len(codes)]
        print(f"{name} raises {code}")
        refuse(connection, name, event, table, condition, code=code)
    accepted = enqueue_all(connection, [WorkJob(number=number) for number in range(30)])
    with worker(database_url, WORKER_THREADS="4") as program:
        all_end(rows, accepted, timeout=60)
        for name in places:
            eventually(lambda name=name: rows.value(f"SELECT last_value FROM {name}_met") > 3, 60)
        assert program.process.poll() is None
        ticked = "SELECT count(*) > 0 AND count(*) = count(task_id) FROM spoils_ticks"
        eventually(lambda: rows.value(ticked), 30)
    assert rows.value("SELECT max(retries) + max(crashes) FROM fang_tasks") == 0
    assert invariants.declared_dead(rows) == []
    invariants.check(rows, accepted)


def test_an_outcome_that_the_database_refuses_does_not_hold_up_those_of_others(
    database_url: str, connection: Connection, rows: Rows
) -> None:
    # As a check of somebody's own on the table would; it refuses for ever.
    condition = "NEW.state = 'finished' AND NEW.metadata->>'number' = '13'"
    refuse(connection, "picky", "UPDATE", "fang_tasks", condition, code="23514", times=1_000_000)
    tasks = [enqueue(connection, SampleJob(number=number)).id for number in range(30)]
    refused = tasks.pop(13)
    with worker(database_url):
        all_end(rows, tasks, timeout=30)
        assert rows.state(refused) == "in_progress"
        connection.execute(text("DROP TRIGGER picky ON fang_tasks"))
        all_end(rows, [refused], timeout=30)
    invariants.check(rows, [*tasks, refused])


def test_a_lock_that_somebody_holds_on_a_running_task_stops_neither_its_worker_nor_its_neighbours(
    database_url: str, connection: Connection, rows: Rows
) -> None:
    with worker(database_url, WORKER_THREADS="3") as program:
        workers_run(rows, 1)
        held = enqueue(connection, WorkJob(number=1, seconds=4)).id
        in_flight(rows, 1)
        with connection.engine.connect() as somebody:
            somebody = somebody.execution_options(isolation_level="READ COMMITTED")
            with somebody.begin():
                somebody.execute(text("SELECT FROM fang_tasks WHERE id = :id FOR UPDATE"), {"id": held})
                # It has ended by now, and its outcome waits for the lock.
                waiting = (
                    "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' "
                    "AND application_name LIKE 'spoils:%'"
                )
                eventually(lambda: rows.value(waiting) > 0, 30)
                neighbours = enqueue_all(connection, [SampleJob(number=number) for number in range(10)])
                all_end(rows, neighbours, timeout=40)
                workers_run(rows, 1)
                assert rows.state(held) == "in_progress"
        all_end(rows, [held], timeout=40)
        assert program.process.poll() is None
    invariants.check(rows, [held, *neighbours])


@pytest.mark.parametrize(
    ("said", "state"),
    [((FINISHED, RELEASED), "finished"), ((RELEASED, FINISHED), "new")],
    ids=["finished first", "released first"],
)
def test_of_two_outcomes_of_one_attempt_the_first_counts(
    engine: Engine, connection: Connection, rows: Rows, said: tuple[Verdict, Verdict], state: str
) -> None:
    owner = rows.worker()
    tasks = enqueue_all(connection, [SampleJob(number=number) for number in range(200)])
    held, _ = claim(connection, worker_id=owner, scan=ClaimScan(["sample"]), kinds=["SampleJob"], limit=200)
    settler = Settler(engine=engine, worker_id=owner, release="dev", on_settled=lambda tokens: None)
    for verdict in said:
        for one in held:
            settler.hand_over(Settlement(one.key, one.attempts, verdict, one.claimed_at, 0))
    settler.tick()
    assert settler.empty
    invariants.all_ended(rows, tasks, state)
    invariants.check(rows, tasks)
