"""A database that restarts, crashes, is away for a while, or refuses single statements."""

import random
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import Connection, Engine, text

from spoils.cli.composition import FOOD_TABLES
from spoils.db import embedded_server
from spoils.db.embedded import EmbeddedPostgres
from spoils.db.embedded_files import find_files
from spoils.db.engine import make_engine
from spoils.db.migrate import migrate
from spoils.job.outcome import FINISHED, Ending, Verdict
from spoils.queue.claim import claim
from spoils.queue.claim_scan import ClaimScan
from spoils.queue.enqueue import enqueue
from spoils.queue.settlement import Settlement
from spoils.worker.settler import Settler
from tests.faults import invariants
from tests.faults.fleet import all_end, attends, comes_true, enqueue_all, in_flight, worker
from tests.faults.jobs import ChainJob, WorkJob
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
        engine = make_engine(self.url, connections=1, application_name="tests")
        migrate(engine, branches=[FOOD_TABLES])
        engine.dispose()

    def stop_at_once(self) -> None:
        """As a power cut would, but for the disk."""
        embedded_server.halt(self._files, mode="immediate")

    def start(self) -> None:
        self._postgres.start()

    def kill_a_backend(self, pid: int) -> None:
        """Which the server answers with ending all of them, and recovering from its log."""
        subprocess.run(["kill", "-9", str(pid)], check=True)

    def remove(self) -> None:
        self._postgres.remove()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path / "server")
    yield server
    server.remove()


def rows_at(stack: ExitStack, url: str) -> Rows:
    """A connection that the test makes anew after each restart."""
    engine = make_engine(url, connections=3, application_name="tests").execution_options(
        isolation_level="AUTOCOMMIT"
    )
    stack.callback(engine.dispose)
    return Rows(stack.enter_context(engine.connect()))


def test_a_database_that_is_shot_and_comes_back_costs_no_job_and_no_worker(server: Server) -> None:
    accepted = []
    with ExitStack() as stack:
        with ExitStack() as first:
            rows = rows_at(first, server.url)
            invariants.install(rows.connection)
        programs = [stack.enter_context(worker(server.url, WORKER_THREADS="5")) for _ in range(3)]
        for down_seconds in (0, 8):
            with ExitStack() as present:
                rows = rows_at(present, server.url)
                attends(rows, 3)
                accepted += enqueue_all(
                    rows.connection,
                    [WorkJob(number=one, seconds=2, transactional=one % 2 == 0) for one in range(40)]
                    + [ChainJob(number=len(accepted) + one) for one in range(5)],
                )
                in_flight(rows, 10)
            server.stop_at_once()
            programs[0].says("Database unavailable", timeout=30)
            if down_seconds:
                # The pauses of the workers' loops grow to their longest.
                programs[0].process.poll()
                try:
                    programs[0].process.wait(down_seconds)
                    pytest.fail("the worker ended")
                except subprocess.TimeoutExpired:
                    pass
            server.start()
            rows = rows_at(stack, server.url)
            all_end(rows, accepted, timeout=60)
        attends(rows, 3)
        # Long enough for a healthy worker to be taken for dead, were it judged.
        assert rows.all("SELECT pg_sleep(5)")
        assert [program.process.poll() for program in programs] == [None, None, None]
        for program in programs:
            # One line an outage, of all that its loops meet; the two may have been one.
            assert len([line for line in program.lines if "Database unavailable" in line]) <= 2
            assert not any("|   File" in line and "/worker/loop.py" in line for line in program.lines)
        assert invariants.taken_for_dead(rows) == []
        assert rows.value("SELECT max(crashes) FROM fang_tasks") == 0
        invariants.check(rows, accepted)


def test_a_backend_that_is_killed_takes_all_with_it_and_nobody_is_taken_for_dead(server: Server) -> None:
    accepted = []
    with ExitStack() as stack:
        with ExitStack() as first:
            rows = rows_at(first, server.url)
            invariants.install(rows.connection)
        programs = [stack.enter_context(worker(server.url, WORKER_THREADS="4")) for _ in range(3)]
        for _ in range(3):
            with ExitStack() as present:
                rows = rows_at(present, server.url)
                attends(rows, 3)
                accepted += enqueue_all(
                    rows.connection,
                    [WorkJob(number=one, seconds=2, transactional=one % 2 == 0) for one in range(20)],
                )
                in_flight(rows, 6)
                victim = rows.value(
                    "SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'spoils:%' ORDER BY random() LIMIT 1"
                )
                server.kill_a_backend(victim)

            def recovered(accepted: list[UUID] = accepted) -> None:
                with ExitStack() as present:
                    all_end(rows_at(present, server.url), accepted, timeout=0)

            eventually(recovered, 60)
        rows = rows_at(stack, server.url)
        attends(rows, 3)
        assert rows.all("SELECT pg_sleep(5)")
        assert [program.process.poll() for program in programs] == [None, None, None]
        assert invariants.taken_for_dead(rows) == []
        invariants.check(rows, accepted)


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
        connection.execute(
            text(
                FAULTY.format(
                    name=name, event=event, table=table, condition=condition, code=code, times=3
                ).replace(":%", "\\:%")
            )
        )
    accepted = enqueue_all(connection, [WorkJob(number=number) for number in range(30)])
    with worker(database_url, WORKER_THREADS="4") as program:
        all_end(rows, accepted, timeout=60)
        for name in places:
            comes_true(lambda name=name: rows.value(f"SELECT last_value FROM {name}_met") > 3, timeout=60)
        assert program.process.poll() is None
        comes_true(
            lambda: (
                rows.value("SELECT count(*) FROM spoils_ticks")
                and not rows.value("SELECT count(*) FROM spoils_ticks WHERE task_id IS NULL")
            )
        )
    assert rows.value("SELECT max(retries) + max(crashes) FROM fang_tasks") == 0
    assert invariants.taken_for_dead(rows) == []
    invariants.check(rows, accepted)


def test_an_outcome_that_the_database_refuses_does_not_hold_up_those_of_others(
    database_url: str, connection: Connection, rows: Rows
) -> None:
    # As a check of somebody's own on the table would; it refuses for ever.
    connection.execute(
        text(
            FAULTY.format(
                name="picky",
                event="UPDATE",
                table="fang_tasks",
                condition="NEW.state = ''finished'' AND NEW.metadata->>''number'' = ''13''".replace(
                    "''", "'"
                ),
                code="23514",
                times=1_000_000,
            ).replace(":%", "\\:%")
        )
    )
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
        attends(rows, 1)
        held = enqueue(connection, WorkJob(number=1, seconds=4)).id
        in_flight(rows, 1)
        with connection.engine.connect() as somebody:
            somebody = somebody.execution_options(isolation_level="READ COMMITTED")
            with somebody.begin():
                somebody.execute(text("SELECT FROM fang_tasks WHERE id = :id FOR UPDATE"), {"id": held})
                # It has ended by now, and its outcome waits for the lock.
                comes_true(
                    lambda: rows.value(
                        "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' "
                        "AND application_name LIKE 'spoils:%'"
                    )
                )
                neighbours = enqueue_all(connection, [SampleJob(number=number) for number in range(10)])
                all_end(rows, neighbours, timeout=40)
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
    held, _ = claim(connection, worker_id=owner, scan=ClaimScan(["sample"]), kinds=[], limit=200)
    settler = Settler(engine=engine, worker_id=owner, release="dev", on_settled=lambda tokens: None)
    for verdict in said:
        for one in held:
            settler.hand_over(Settlement(one.key, one.attempts, verdict, one.claimed_at, 0))
    settler.tick()
    assert settler.empty
    invariants.all_ended(rows, tasks, state)
    invariants.check(rows, tasks)
