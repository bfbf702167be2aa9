"""Sharing the table with Rust workers: what `migrate` adds for it, and what `adopt` takes away again."""

from collections import Counter
from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, make_url, text
from sqlalchemy.exc import IntegrityError

from spoils.cli.composition import FOOD_TABLES
from spoils.db import sharing
from spoils.db.engine import make_engine
from spoils.db.migrate import TableBusy, changing, migrate
from tests.migrations.catalogs import everything
from tests.rows import Rows

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
