"""A table that fang made is taken over in place: every row, type and default stays, and what waits runs."""

import logging
from collections.abc import Iterator
from uuid import UUID

import pytest
from sqlalchemy import Connection, Engine, text

from spoils.db.engine import make_engine
from spoils.db.migrate import check_schema, migrate
from spoils.errors import SpoilsError
from spoils.queue.counts import count_tasks
from tests.migrations import old_tables
from tests.migrations.old_tables import CRATE_INDEXES, FANG_INSERT, FANG_INSERT_UNIQUE
from tests.programs import Program
from tests.support import eventually
from tests.upstream import Upstream

HASH = "a" * 64
OUR_INDEXES = {
    "fang_tasks_pkey",
    "fang_tasks_claim_idx",
    "fang_tasks_active_hash_idx",
    "fang_tasks_running_idx",
    "fang_tasks_failed_idx",
    "fang_tasks_waiting_idx",
    "fang_tasks_finished_idx",
    "fang_tasks_suspect_idx",
    "fang_tasks_batch_idx",
}
# What the guide has its readers type into psql, and two that follow from its advice.
STATEMENTS_OF_THE_GUIDE = [
    "SELECT id, task_type, state, retries, created_at FROM fang_tasks WHERE state = 'new' ORDER BY scheduled_at",
    "SELECT state, COUNT(*) FROM fang_tasks GROUP BY state",
    "SELECT * FROM fang_tasks WHERE state = 'failed' LIMIT 10",
    "UPDATE fang_tasks SET state = 'new', retries = 0 WHERE state = 'failed'",
    "DELETE FROM fang_tasks WHERE state = 'finished' AND updated_at < NOW() - INTERVAL '7 days'",
    """
    INSERT INTO fang_tasks
    VALUES (gen_random_uuid(), '{"type": "CleanupJob"}', NULL, 'new', 'cleanup', NULL, 0, now(), now(), now())
    """,
]


@pytest.fixture
def old(empty_database_url: str) -> Iterator[Engine]:
    engine = make_engine(empty_database_url, connections=5, application_name="tests")
    yield engine
    engine.dispose()


@pytest.fixture(params=["guide", "crate", "older crate"])
def adopted(old: Engine, request: pytest.FixtureRequest) -> Engine:
    """500 rows in the old table, then migrated."""
    with old.begin() as connection:
        old_tables.make(connection, request.param)
        old_tables.fill(connection)
    migrate(old)
    return old


def indexes(connection: Connection) -> set[str]:
    return set(
        connection.execute(text("SELECT indexname FROM pg_indexes WHERE tablename = 'fang_tasks'")).scalars()
    )


def hashes(connection: Connection) -> dict[UUID, str | None]:
    return {row.id: row.uniq_hash for row in connection.execute(text("SELECT id, uniq_hash FROM fang_tasks"))}


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("which", ["guide", "guide with times", "crate", "older crate"])
def test_every_row_type_and_default_of_the_old_table_stays_as_it_was(
    old: Engine, which: str, shared: bool
) -> None:
    with old.begin() as connection:
        old_tables.make(connection, which)
        old_tables.fill(connection)
        rows_before, columns_before = old_tables.contents(connection), old_tables.columns(connection)
    assert len(rows_before) == 500
    for _ in range(2):
        migrate(old, shared_with_fang=shared)
    check_schema(old)
    with old.connect() as connection:
        assert old_tables.contents(connection) == rows_before
        assert old_tables.columns(connection) == columns_before
        ours = "claimed_by, claimed_at, attempts, crashes, priority, cancel_requested_at"
        assert connection.execute(text(f"SELECT DISTINCT {ours} FROM fang_tasks")).all() == [
            (None, None, 0, 0, 0, None)
        ]
        assert connection.scalars(text("SELECT adopted FROM spoils_version")).all() == [True]
        crate_indexes = CRATE_INDEXES if shared and "crate" in which else set()
        assert indexes(connection) == OUR_INDEXES | crate_indexes


def test_a_table_of_our_own_is_on_record_as_not_adopted(old: Engine) -> None:
    migrate(old)
    with old.connect() as connection:
        assert connection.scalars(text("SELECT adopted FROM spoils_version")).all() == [False]


def test_the_counts_are_those_of_the_rows_and_stay_so_whoever_changes_them(adopted: Engine) -> None:
    counted = text("SELECT task_type, state::text, count(*) FROM fang_tasks GROUP BY 1, 2")

    def agree(connection: Connection) -> int:
        kept = {
            (task_type, str(state), number)
            for task_type, of_type in count_tasks(connection).items()
            for state, number in of_type.items()
            if number
        }
        assert kept == {tuple(row) for row in connection.execute(counted)}
        return sum(number for _, _, number in kept)

    with adopted.begin() as connection:
        assert agree(connection) == 500
        connection.execute(text("DELETE FROM fang_tasks WHERE state = 'finished' AND task_type = 'common'"))
        connection.execute(text("UPDATE fang_tasks SET task_type = 'other' WHERE state = 'failed'"))
        connection.execute(text("UPDATE fang_tasks SET state = 'new' WHERE state = 'retried'"))
        old_tables.put(connection)
        assert 400 < agree(connection) < 500
        connection.execute(text("TRUNCATE fang_tasks"))
        assert agree(connection) == 0


def test_the_statements_of_the_guide_still_work(adopted: Engine) -> None:
    for statement in STATEMENTS_OF_THE_GUIDE:
        with adopted.connect() as connection:  # rolled back
            assert connection.exec_driver_sql(statement).rowcount > 0, statement


def test_rows_as_fang_inserts_them_go_in_and_come_back_whole(adopted: Engine) -> None:
    with adopted.begin() as connection:
        plain = connection.execute(
            text(FANG_INSERT), {"metadata": '{"type": "Nightly"}', "task_type": "common"}
        ).one()
        unique = connection.execute(
            text(FANG_INSERT_UNIQUE),
            {"metadata": '{"type": "Nightly"}', "task_type": "common", "uniq_hash": HASH},
        ).one()
    assert (plain.state, plain.retries, plain.uniq_hash) == ("new", 0, None)
    assert (plain.attempts, plain.crashes, plain.priority, plain.claimed_by) == (0, 0, 0, None)
    assert unique.uniq_hash == HASH


def test_of_active_duplicates_the_running_one_keeps_its_hash_else_the_oldest(
    old: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    other, third = "b" * 64, "c" * 64
    with old.begin() as connection:
        old_tables.make(connection, "guide")
        later = "2025-03-02T00:00:00Z"
        oldest = old_tables.put(connection, uniq_hash=HASH)
        running = old_tables.put(connection, uniq_hash=HASH, state="in_progress", created_at=later)
        retried = old_tables.put(connection, uniq_hash=HASH, state="retried", created_at=later)
        ended = [old_tables.put(connection, uniq_hash=HASH, state=state) for state in ("finished", "failed")]
        younger = old_tables.put(connection, uniq_hash=other, created_at=later)
        first = old_tables.put(connection, uniq_hash=other, state="retried")
        alone = old_tables.put(connection, uniq_hash=third)
    with caplog.at_level(logging.WARNING, logger="spoils.migrations"):
        migrate(old)
    assert [record.getMessage() for record in caplog.records] == [
        "3 waiting tasks were duplicates of another: they still run, but no longer count as unique."
    ]
    with old.connect() as connection:
        found = hashes(connection)
        states = {row.id: row.state for row in connection.execute(text("SELECT id, state FROM fang_tasks"))}
    assert {task_id for task_id, kept in found.items() if kept is None} == {oldest, retried, younger}
    assert {found[task_id] for task_id in (running, *ended)} == {HASH}
    assert (found[first], found[alone]) == (other, third)
    assert (states[oldest], states[retried], states[younger]) == ("new", "retried", "new")


@pytest.mark.parametrize("shared", [False, True])
def test_a_second_active_row_of_one_hash_is_refused_but_beside_rust_workers_one_may_wait_for_what_runs(
    old: Engine, shared: bool
) -> None:
    with old.begin() as connection:
        old_tables.make(connection, "crate")
    migrate(old, shared_with_fang=shared)
    with old.begin() as connection:
        old_tables.put(connection, uniq_hash=HASH, state="in_progress")
        if shared:
            # As fang does, which looks for waiting duplicates only.
            old_tables.put(connection, uniq_hash=HASH)
    with old.connect() as connection, pytest.raises(Exception, match="fang_tasks_active_hash_idx"):
        old_tables.put(connection, uniq_hash=HASH, state="retried")


@pytest.mark.parametrize(
    ("table", "complaint"),
    [
        ("CREATE TABLE fang_tasks (id int)", "its column id is int4 where uuid is needed"),
        (
            old_tables.GUIDE.replace("retries INTEGER DEFAULT 0", "retries TEXT DEFAULT '0'"),
            "its column retries is text where int4 is needed",
        ),
        (
            old_tables.GUIDE.replace("    error_message TEXT,", ""),
            "its column error_message is missing where text is needed",
        ),
        (
            old_tables.GUIDE.replace("error_message TEXT,", "error_message TEXT, priority TEXT,"),
            "it has a column priority",
        ),
        (old_tables.GUIDE.replace("  'in_progress', -- Being processed\n", ""), "knows no state in_progress"),
        (
            old_tables.GUIDE.replace("TABLE fang_tasks", "TABLE old_tasks")
            + "CREATE VIEW fang_tasks AS SELECT * FROM old_tasks",
            "it is no plain table",
        ),
        (
            old_tables.GUIDE.replace("error_message TEXT,", "error_message TEXT, tenant INT NOT NULL,"),
            "no row goes in without its column tenant",
        ),
        (
            "CREATE TYPE fang_task_state AS ENUM ('new', 'in_progress', 'failed', 'finished', 'retried', 'paused')",
            "There is a type fang_task_state, but it knows a state paused",
        ),
    ],
    ids=[
        "other table",
        "other type",
        "missing column",
        "column of ours",
        "missing state",
        "view",
        "column to be given",
        "more states",
    ],
)
def test_what_is_not_fang_s_is_refused_with_a_sentence_and_left_alone(
    old: Engine, table: str, complaint: str
) -> None:
    relations = text(
        "SELECT relname, relkind, relnatts FROM pg_class WHERE relnamespace = 'public'::regnamespace ORDER BY 1"
    )
    with old.begin() as connection:
        connection.exec_driver_sql(table)
        before = connection.execute(relations).all()
    with pytest.raises(SpoilsError, match=complaint) as refusal:
        migrate(old)
    assert "set DATABASE_URL to another database" in str(refusal.value)
    with old.connect() as connection:
        assert connection.execute(relations).all() == before


def test_the_type_that_a_dropped_table_left_behind_is_taken(old: Engine) -> None:
    with old.begin() as connection:
        old_tables.make(connection, "guide")
        connection.exec_driver_sql("DROP TABLE fang_tasks")
    migrate(old)
    with old.begin() as connection:
        old_tables.put(connection)


@pytest.mark.process
@pytest.mark.parametrize("which", ["guide", "crate"])
def test_what_waited_in_the_old_table_runs_on_a_worker_and_the_duplicates_too(
    empty_database_url: str, old: Engine, which: str
) -> None:
    with old.begin() as connection:
        old_tables.make(connection, which)
        old_tables.fill(connection)
        duplicates = [old_tables.put(connection, uniq_hash=HASH) for _ in range(2)]
        unknown = old_tables.put(connection, task_type="common", metadata='{"type": "StillRustJob"}')
    ended = text(
        "SELECT id, ROW(error_message, state, retries, updated_at)::text FROM fang_tasks WHERE state = :state"
    )
    with old.connect() as connection:
        before = {
            state: connection.execute(ended, {"state": state}).all()
            for state in ("in_progress", "failed", "finished")
        }
    with Upstream() as upstream:
        upstream.products["737628064502"] = {"product_name": "Noodles"}
        with Program("-m", "spoils", "migrate", DATABASE_URL=empty_database_url) as program:
            assert program.ends() == 0
        assert "1 waiting tasks were duplicates" in program.output
        with Program(
            "worker.py",
            DATABASE_URL=empty_database_url,
            OPENFOODFACTS_URL=upstream.url,
            SPOILS_NOTIFY_SECONDS="0",
            SPOILS_ANALYZE_SECONDS="0",
        ):

            def all_ran() -> None:
                with old.begin() as connection:
                    # There are more fetches than may start in a minute.
                    connection.execute(text("DELETE FROM spoils_limits"))
                with old.connect() as connection:
                    left = connection.execute(
                        text(
                            "SELECT id FROM fang_tasks WHERE state IN ('new', 'retried') "
                            "OR state = 'in_progress' AND claimed_by IS NOT NULL"
                        )
                    ).scalars()
                    assert set(left) == {unknown}

            eventually(all_ran, timeout=60)
    with old.connect() as connection:
        for state, rows in before.items():
            # What the old system had in progress or had ended is as it was.
            assert set(rows) <= set(connection.execute(ended, {"state": state}).all())
        by_duplicates = connection.execute(
            text("SELECT state::text FROM fang_tasks WHERE id = ANY(:ids)"), {"ids": duplicates}
        ).scalars()
        assert list(by_duplicates) == ["finished", "finished"]
        attempts = connection.execute(
            text("SELECT DISTINCT attempts FROM fang_tasks WHERE claimed_by IS NOT NULL")
        ).scalars()
        assert list(attempts) == [1]
