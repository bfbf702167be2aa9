"""Sharing the table with Rust workers: what `migrate` adds for it, and what `adopt` takes away again."""

import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

import pytest
from sqlalchemy import Engine, make_url, text
from sqlalchemy.exc import IntegrityError

from spoils.cli.composition import FOOD_TABLES
from spoils.db import sharing
from spoils.db.engine import make_engine
from spoils.db.migrate import TableBusy, changing, migrate
from tests.migrations import old_tables
from tests.migrations.catalogs import everything
from tests.migrations.old_tables import FANG_CLAIM, FANG_FINISH, FANG_SELECT
from tests.programs import Program, worker
from tests.rows import Rows
from tests.support import eventually

HASH = "a" * 64
TRIGGERS = text(
    "SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE tgrelid = 'fang_tasks'::regclass ORDER BY tgname"
)


@pytest.fixture
def plain(empty_database_url: str) -> Iterator[Engine]:
    """A table that nobody shares."""
    engine = make_engine(empty_database_url, connections=5, application_name="tests")
    migrate(engine, branches=[FOOD_TABLES])
    yield engine
    engine.dispose()


@pytest.fixture
def shared(plain: Engine) -> Engine:
    """A table that was migrated without the setting first, and then with it."""
    migrate(plain, shared_with_fang=True)
    return plain


def test_a_table_that_was_migrated_without_the_setting_is_shared_by_the_next_migrate_with_it(
    plain: Engine,
) -> None:
    for _ in range(2):
        migrate(plain, shared_with_fang=True)
        with plain.connect() as connection:
            assert "spoils_tasks_guarded" in str(connection.scalars(TRIGGERS).all())
            index = connection.scalar(text("SELECT pg_get_indexdef('fang_tasks_active_hash_idx'::regclass)"))
            assert "in_progress" not in str(index)
            before = everything(connection)
    # A migrate without the setting changes nothing of it.
    migrate(plain)
    with plain.connect() as connection:
        assert everything(connection) == before


def test_the_end_of_sharing_leaves_the_table_as_one_that_was_never_shared(
    engine: Engine, shared: Engine
) -> None:
    with engine.connect() as connection:
        never_shared = everything(connection)
    for _ in range(2):
        with shared.begin() as connection:
            sharing.end(connection)
        with shared.connect() as connection:
            assert everything(connection) == never_shared


@pytest.mark.parametrize("other", ["new", "in_progress"])
def test_of_two_active_duplicates_a_running_one_keeps_the_hash_and_both_run(
    shared: Engine, other: str
) -> None:
    with shared.begin() as connection:
        rows = Rows(connection)
        ids = [rows.task(state=state, uniq_hash=HASH) for state in ("in_progress", other)]
        sharing.end(connection)
        hashes = [rows.one(task_id).uniq_hash for task_id in ids]
        assert Counter(hashes) == {HASH: 1, None: 1}
        assert other == "in_progress" or hashes[0] == HASH
        assert [rows.state(task_id) for task_id in ids] == ["in_progress", other]
    with pytest.raises(IntegrityError), shared.begin() as connection:
        Rows(connection).task(uniq_hash=HASH)


def test_a_table_that_somebody_holds_is_not_waited_for_by_everybody(shared: Engine) -> None:
    with shared.connect() as holder:
        holder.execute(text("SELECT count(*) FROM fang_tasks"))
        with (
            pytest.raises(TableBusy, match=r"Nothing was changed: run it again"),
            changing(shared) as connection,
        ):
            sharing.end(connection)
        migrate(shared, shared_with_fang=True)  # there is nothing to do that needs the table


def test_the_guard_is_found_in_a_schema_of_any_name_from_any_path(
    empty_database_url: str, plain: Engine
) -> None:
    with plain.begin() as connection:
        connection.exec_driver_sql('CREATE SCHEMA "Foods:%%x"')
    there = make_url(empty_database_url).update_query_dict({"options": '-c search_path="Foods:%x"'})
    url = there.render_as_string(hide_password=False)
    engine = make_engine(url, connections=1, application_name="tests")
    migrate(engine, shared_with_fang=True)
    with engine.begin() as connection:
        running = Rows(connection).task(state="in_progress", uniq_hash=HASH)
        Rows(connection).task(uniq_hash=HASH)
    with plain.begin() as connection:
        connection.exec_driver_sql(
            """UPDATE "Foods:%%x".fang_tasks SET state = 'retried' WHERE state = 'in_progress'"""
        )
    with engine.connect() as connection:
        row = Rows(connection).one(running)
    assert (row.state, row.uniq_hash) == ("retried", None)
    engine.dispose()


def work_as_fang(engine: Engine, performed: list[UUID], ends: threading.Event) -> None:
    """Perform tasks as a Rust worker does, each statement in a transaction of its own."""
    with engine.connect() as connection:
        while not ends.wait(0.001):
            found = connection.scalar(text(FANG_SELECT), {"task_type": "sample"})
            # Where another worker was first, no row comes back.
            if found and connection.execute(text(FANG_CLAIM), {"id": found}).one_or_none():
                performed.append(found)
                connection.execute(text(FANG_FINISH), {"id": found})


@pytest.mark.process
def test_a_table_is_taken_over_while_workers_of_fang_and_then_of_both_perform_its_tasks(
    empty_database_url: str,
) -> None:
    engine = make_engine(empty_database_url, connections=5, application_name="tests", autocommit=True)
    ends, performed = threading.Event(), list[UUID]()
    with ThreadPoolExecutor() as threads, engine.connect() as connection:
        rows = Rows(connection)
        old_tables.make(connection, "crate")
        insert = (
            """INSERT INTO fang_tasks (metadata, task_type) SELECT '{"type": "SampleJob"}', 'sample' """
            "FROM generate_series(1, 2000)"
        )
        rows.connection.exec_driver_sql(insert)
        fang = [threads.submit(work_as_fang, engine, performed, ends) for _ in range(2)]
        try:
            eventually(lambda: len(performed) > 20)
            changes = make_engine(empty_database_url, connections=1, application_name="tests")
            migrate(changes, shared_with_fang=True)
            changes.dispose()
            done = len(performed)
            eventually(lambda: len(performed) > done + 20)
            with worker(empty_database_url, SPOILS_JOBS="tests.sample_jobs", SPOILS_SHARED_WITH_FANG="1"):
                rows.connection.exec_driver_sql(insert)
                left = "SELECT count(*) FROM fang_tasks WHERE task_type = 'sample' AND state <> 'finished'"
                eventually(lambda: rows.value(left) == 0, 60)
        finally:
            ends.set()
        for one in fang:
            one.result()  # no statement of theirs failed
        # A Rust worker that is stopped leaves what it runs.
        stopped = rows.task()
        assert connection.execute(text(FANG_CLAIM), {"id": stopped}).one()
        adopt = ("-m", "spoils", "adopt", "--no-rust-workers")
        with Program(*adopt, DATABASE_URL=empty_database_url, SPOILS_JOBS="tests.sample_jobs") as program:
            assert program.ends() == 0
            program.says("Released 1 tasks")
        assert rows.state(stopped) == "new"
        by_us = {
            task_id
            for (task_id,) in rows.all(
                "SELECT id FROM fang_tasks WHERE attempts = 1 AND task_type = 'sample'"
            )
        }
        assert by_us
        assert len(by_us.union(performed)) == 4000
        # From the guard on each once; before it fang's own workers perform some twice.
        assert len(performed[done:]) == len(set(performed[done:]) - by_us.union(performed[:done]))
    engine.dispose()
