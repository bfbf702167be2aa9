"""Plans of the statements that every job pays for, as a worker's own connections make them: by index, whatever the
statistics say."""

from collections.abc import Iterator
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import OperationalError, ProgrammingError

from spoils.db import arrays
from spoils.db.engine import make_engine
from spoils.db.statements import Statement
from spoils.job.outcome import FINISHED
from spoils.queue import claim as claiming
from spoils.queue import finish as finishing
from spoils.queue import unknown_classes, worker_rows
from spoils.queue.claim import claim
from spoils.queue.claim_scan import ClaimScan
from spoils.queue.enqueue import enqueue
from spoils.queue.finish import finish_one
from spoils.queue.settlement import Settlement
from tests.queue.hands import KINDS, take
from tests.rows import Rows
from tests.sample_jobs import SampleJob


@pytest.fixture
def by_index(database_url: str) -> Iterator[Engine]:
    engine = make_engine(
        database_url, connections=1, application_name="plans", autocommit=True, by_index=True
    )
    yield engine
    engine.dispose()


@pytest.fixture(params=["young", "known"])
def many(rows: Rows, request: pytest.FixtureRequest) -> None:
    """Many rows, with statistics and without."""
    rows.connection.execute(text("ALTER TABLE fang_tasks SET (autovacuum_enabled = false)"))
    rows.connection.execute(
        text(
            "INSERT INTO fang_tasks (metadata, task_type, state, priority, scheduled_at) "
            """SELECT '{"type": "SampleJob"}', (ARRAY['sample', 'unique_sample', 'elsewhere'])[n % 3 + 1], """
            "CAST(CASE WHEN n % 2 = 0 THEN 'finished' ELSE 'new' END AS fang_task_state), 0, "
            "now() - make_interval(secs => n) FROM generate_series(1, 30000) AS n"
        )
    )
    if request.param == "known":
        rows.connection.execute(text("ANALYZE fang_tasks"))


def plan(connection: Connection, statement: Statement, values: dict[str, object]) -> str:
    if statement.prepared not in connection.info.get("prepared", ()):
        connection.exec_driver_sql(statement.preparing)
    found = connection.exec_driver_sql(f"EXPLAIN {statement.executing}", values)
    return "\n".join(row[0] for row in found)


@pytest.mark.usefixtures("many")
@pytest.mark.parametrize("statement", [claiming._CLAIM, claiming._CLAIM_BY_AGE], ids=["in turn", "by age"])
def test_a_claim_probes_the_claim_index_from_its_cursor(
    by_index: Engine, me: UUID, statement: Statement
) -> None:
    scan = ClaimScan(["sample", "unique_sample"])
    with by_index.connect() as connection:
        claim(connection, worker_id=me, scan=scan, kinds=KINDS, limit=100)
        values = {
            "worker_id": str(me),
            "kinds": list(KINDS),
            "common_kinds": list(KINDS),
            "most_of_all": 100,
            **claiming._arrays(scan.probe(0, 100)),
        }
        found = plan(connection, statement, values)
    assert "Seq Scan" not in found, found
    assert "Index Scan using fang_tasks_claim_idx" in found
    condition = next(line for line in found.splitlines() if "Index Cond: ((" in line and "priority" in line)
    assert "ROW(scheduled_at, id) > ROW(" in condition, found
    assert condition.count("scheduled_at <= ") == 2, found  # now, and the end of a slice
    assert "Index Scan using fang_tasks_pkey" in found


def test_ten_thousand_tasks_of_an_unknown_class_cost_the_next_claims_nothing(
    by_index: Engine, me: UUID, rows: Rows
) -> None:
    put = text(
        "INSERT INTO fang_tasks (metadata, task_type, scheduled_at) SELECT jsonb_build_object('type', "
        "CAST(:job AS text)), 'sample', now() - make_interval(secs => :ago) FROM generate_series(1, :number)"
    )
    rows.connection.execute(put, {"job": "OfAnotherRelease", "ago": 3600, "number": 10_000})
    rows.connection.execute(put, {"job": "SampleJob", "ago": 60, "number": 30})
    with by_index.connect() as connection:

        def passed_over(scan: ClaimScan) -> list[str]:
            """What the next claim reads and does not take."""
            arrays = claiming._arrays(scan.probe(0, 10))
            values = {
                "worker_id": str(me),
                "kinds": list(KINDS),
                "common_kinds": list(KINDS),
                "most_of_all": 10,
                **arrays,
            }
            connection.exec_driver_sql("BEGIN")
            found = connection.exec_driver_sql(f"EXPLAIN (ANALYZE) {claiming._CLAIM.executing}", values).all()
            connection.exec_driver_sql("ROLLBACK")
            return [line.strip() for (line,) in found if "Rows Removed by Filter" in line]

        scan = ClaimScan(["sample"])
        for left in (20, 10, 0):
            claims, _ = claim(connection, worker_id=me, scan=scan, kinds=KINDS, limit=10)
            assert {one.kind for one in claims} == {"SampleJob"}
            assert rows.value("SELECT count(*) FROM fang_tasks WHERE state = 'new'") == 10_000 + left
            assert passed_over(scan) == []
        assert passed_over(ClaimScan(["sample"])) != []  # from the head, as a worker that has just started
    assert rows.value("SELECT sum(attempts) FROM fang_tasks WHERE state = 'new'") == 0


@pytest.mark.usefixtures("many")
def test_tasks_of_unknown_classes_are_looked_for_by_index(by_index: Engine, me: UUID) -> None:
    with by_index.connect() as connection:
        compiled = unknown_classes._FAIL.compile(dialect=connection.dialect)
        values = {**compiled.params, "worker_id": me, "types": ["sample", "unique_sample"]}
        found = "\n".join(connection.exec_driver_sql(f"EXPLAIN {compiled}", values).scalars())
    assert "Seq Scan on fang_tasks" not in found, found
    condition = next(line for line in found.splitlines() if "Index Cond: ((" in line and "priority" in line)
    assert "scheduled_at < " in condition, found


@pytest.mark.usefixtures("many")
@pytest.mark.parametrize(
    "form", [finishing._FINISH.waiting, finishing._FINISH.skipping], ids=["waits", "skips"]
)
def test_finishing_looks_each_task_up_by_its_key(by_index: Engine, me: UUID, form: Statement) -> None:
    with by_index.connect() as connection:
        claims, _ = claim(connection, worker_id=me, scan=ClaimScan(["sample"]), kinds=KINDS, limit=300)
        values = {
            "ids": arrays.plain([one.key for one in claims]),
            "fences": arrays.plain([str(one.attempts) for one in claims]),
            "moments": arrays.quoted([one.claimed_at for one in claims]),
            "times": arrays.plain(["1" for _ in claims]),
            "buckets": arrays.plain(["1" for _ in claims]),
            "worker_id": str(me),
        }
        found = plan(connection, form, values)
    assert "Seq Scan" not in found, found
    assert "Index Scan using fang_tasks_pkey" in found


@pytest.mark.usefixtures("many")
def test_finishing_one_looks_it_up_by_its_key(by_index: Engine, me: UUID) -> None:
    values = {
        "key": str(uuid4()), "fence": 1, "moment": "2026-01-01 00:00:00+00", "ran_ms": 5, "bucket": 1,
        "returned": None,
        "worker_id": str(me),
    }  # fmt: skip
    with by_index.connect() as connection:
        found = plan(connection, finishing._FINISH_ONE, values)
    scans = [
        line.partition("Scan using ")[2].split()[0] for line in found.splitlines() if "Scan using" in line
    ]
    assert scans == ["fang_tasks_pkey"], found


@pytest.mark.usefixtures("many")
def test_a_heartbeat_asks_for_what_is_performed_by_its_key(by_index: Engine, me: UUID) -> None:
    values: dict[str, object] = {
        "worker_id": str(me),
        "rss": 1,
        "running": 1,
        "stopping": False,
        "performing": arrays.plain([uuid4()]),
        "types": ["sample"],
        "kinds": list(KINDS),
        "common_kinds": list(KINDS),
    }
    with by_index.connect() as connection:
        found = plan(connection, worker_rows._HEARTBEAT, values)
    # Plainly or as a bitmap, as the statistics have it.
    assert "fang_tasks_pkey" in found, found
    assert "running_idx" not in found, found
    assert "Index Scan using fang_tasks_claim_idx" in found, found
    assert "Seq Scan on fang_tasks" not in found, found


def test_a_statement_is_planned_once_for_each_connection(by_index: Engine, me: UUID) -> None:
    with by_index.connect() as connection:
        for _ in range(3):
            claim(connection, worker_id=me, scan=ClaimScan(["sample"]), kinds=KINDS, limit=1)
        found = connection.execute(
            text("SELECT name, generic_plans, custom_plans FROM pg_prepared_statements")
        )
        assert found.all() == [(claiming._CLAIM.prepared, 3, 0)]


def test_elsewhere_nothing_is_prepared(engine: Engine, me: UUID) -> None:
    with engine.connect() as connection:
        claim(connection, worker_id=me, scan=ClaimScan(["sample"]), kinds=KINDS, limit=1)
        assert connection.execute(text("SELECT count(*) FROM pg_prepared_statements")).scalar() == 0


@pytest.fixture
def of_jobs(database_url: str) -> Iterator[Engine]:
    """Connections that users' own statements go over too."""
    engine = make_engine(database_url, connections=1, application_name="a job")
    yield engine
    engine.dispose()


def settings(connection: Connection) -> tuple[str, ...]:
    names = ("enable_seqscan", "enable_hashjoin", "enable_mergejoin", "plan_cache_mode")
    return tuple(connection.scalar(text(f"SHOW {name}")) for name in names)


def test_finishing_in_a_job_s_transaction_is_planned_once_by_index_in_an_empty_table(
    of_jobs: Engine, me: UUID, rows: Rows
) -> None:
    with of_jobs.connect() as connection:
        for number in range(3):
            before = settings(connection)
            rows.task()
            (one,) = take(rows.connection, me)
            finish_one(
                connection, Settlement(one.key, one.attempts, FINISHED, one.claimed_at, 1), worker_id=me
            )
            assert settings(connection) == (*before[:3], "force_generic_plan")
            if number == 0:
                connection.execute(text("SELECT 1"))  # the transaction goes on
            connection.commit()
            assert settings(connection) == before
            connection.rollback()
        connection.execute(text("SET LOCAL plan_cache_mode = force_generic_plan"))
        found = connection.execute(
            text(
                f"EXPLAIN EXECUTE {finishing._FINISH_ONE.prepared}(NULL, NULL, NULL, NULL, NULL, NULL, NULL)"
            )
        )
        assert "Seq Scan on fang_tasks" not in "\n".join(row[0] for row in found)
        counts = connection.execute(text("SELECT generic_plans, custom_plans FROM pg_prepared_statements"))
        assert counts.one() == (5, 0)  # at three executions, and where each of the two plans was asked for


@pytest.mark.parametrize("autocommit", [True, False])
def test_what_cannot_be_prepared_leaves_the_connection_as_it_was(
    *, database_url: str, rows: Rows, autocommit: bool
) -> None:
    engine = make_engine(database_url, connections=1, application_name="a job", autocommit=autocommit)
    rows.connection.execute(text("ALTER TABLE fang_tasks RENAME TO away"))
    try:
        with engine.connect() as connection:
            connection.execute(text("SELECT 1"))
            with pytest.raises(ProgrammingError, match="fang_tasks"):
                enqueue(connection, SampleJob())
    finally:
        rows.connection.execute(text("ALTER TABLE away RENAME TO fang_tasks"))
    with engine.connect() as connection:
        connection.execute(text("SELECT 1"))
        task_id = enqueue(connection, SampleJob()).id
        assert settings(connection)[:3] == ("on", "on", "on")
        if not autocommit:
            connection.commit()
    assert rows.state(task_id) == "new"
    engine.dispose()


def test_an_error_of_a_prepared_statement_is_sqlalchemy_s_and_the_connection_goes_on(
    by_index: Engine, me: UUID, rows: Rows
) -> None:
    with by_index.connect() as connection:
        claim(connection, worker_id=me, scan=ClaimScan(["sample"]), kinds=KINDS, limit=1)
        rows.connection.execute(text("ALTER TABLE fang_tasks RENAME TO away"))
        try:
            with pytest.raises(ProgrammingError, match="fang_tasks"):
                claim(connection, worker_id=me, scan=ClaimScan(["sample"]), kinds=KINDS, limit=1)
        finally:
            rows.connection.execute(text("ALTER TABLE away RENAME TO fang_tasks"))
        assert not connection.invalidated
        task_id = rows.task()
        claims, _ = claim(connection, worker_id=me, scan=ClaimScan(["sample"]), kinds=KINDS, limit=1)
        assert [one.id for one in claims] == [task_id]


def test_a_prepared_statement_on_a_session_that_has_ended_gives_its_connection_up(
    by_index: Engine, me: UUID, rows: Rows
) -> None:
    with by_index.connect() as connection:
        pid = connection.scalar(text("SELECT pg_backend_pid()"))
        rows.connection.execute(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": pid})
        with pytest.raises(OperationalError) as raised:
            claim(connection, worker_id=me, scan=ClaimScan(["sample"]), kinds=KINDS, limit=1)
        assert raised.value.connection_invalidated
        assert connection.invalidated
    with by_index.connect() as connection:
        assert claim(connection, worker_id=me, scan=ClaimScan(["sample"]), kinds=KINDS, limit=1)[0] == []
