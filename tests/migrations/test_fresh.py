"""An empty database is brought to this release's schema, once, by however many processes ask."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Engine, text

from spoils.cli.composition import FOOD_TABLES
from spoils.db.engine import make_engine
from spoils.db.migrate import QUEUE, Branch, SchemaBehind, check_schema, migrate
from spoils.migrations.versions import r0011_queue
from spoils.models import db
from tests.conftest import a_database
from tests.migrations.catalogs import everything, tables
from tests.migrations.old_tables import GUIDE, columns
from tests.programs import Program


@pytest.fixture
def empty(empty_database_url: str) -> Iterator[Engine]:
    engine = make_engine(empty_database_url, connections=5, application_name="tests")
    yield engine
    engine.dispose()


@pytest.fixture
def other(postgres_url: str) -> Iterator[Engine]:
    for url in a_database(postgres_url, ""):
        engine = make_engine(url, connections=1, application_name="tests")
        yield engine
        engine.dispose()


def test_alembic_finds_no_difference_between_the_migrated_schema_and_the_models(engine: Engine) -> None:
    def is_ours(name: str | None, kind: str, _parents: object) -> bool:
        return kind != "table" or name not in (QUEUE.version_table, FOOD_TABLES.version_table)

    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"include_name": is_ours, "compare_type": True})
        assert compare_metadata(context, db.metadata) == []


def test_the_migrated_schema_is_what_the_models_would_make_predicates_and_names_included(
    engine: Engine, other: Engine
) -> None:
    with other.begin() as connection:
        connection.exec_driver_sql(GUIDE.partition("CREATE TABLE")[0])
        connection.exec_driver_sql(r0011_queue.NEW_ID)
        db.metadata.create_all(connection)
        of_the_models = tables(connection)
    with engine.connect() as connection:
        assert tables(connection) == of_the_models


def test_a_fresh_table_has_the_columns_of_the_guide(engine: Engine, other: Engine) -> None:
    with other.begin() as connection:
        connection.exec_driver_sql(GUIDE)
        expected = columns(connection)
    with engine.connect() as connection:
        found = columns(connection)
    assert [column[:4] for column in found] == [column[:4] for column in expected]
    # Our ids are ordered by time; and the guide gives the three times no default, which takes nothing away.
    assert found[0][4:] == ("spoils_new_id()", "NO")
    assert [column[4:] for column in found[1:7]] == [column[4:] for column in expected[1:7]]
    assert [column[4:] for column in found[7:]] == [("now()", "NO")] * 3


def test_the_queue_alone_makes_no_table_of_food_and_food_comes_later_without_a_trace_of_that(
    engine: Engine, empty: Engine
) -> None:
    migrate(empty)
    check_schema(empty)
    with empty.connect() as connection:
        made = connection.scalars(text("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")).all()
    assert all(name == "fang_tasks" or name.startswith("spoils_") for name in made)
    assert FOOD_TABLES.version_table not in made
    migrate(empty, branches=[FOOD_TABLES])
    with empty.connect() as connection, engine.connect() as of_both:
        assert everything(connection) == everything(of_both)


def test_many_connections_that_migrate_at_once_do_it_once_and_again_changes_nothing(
    engine: Engine, empty: Engine
) -> None:
    ready = threading.Barrier(5)

    def one() -> None:
        ready.wait()
        migrate(empty, branches=[FOOD_TABLES])

    with ThreadPoolExecutor(5) as pool:
        for done in [pool.submit(one) for _ in range(5)]:
            done.result()
    check_schema(empty, [FOOD_TABLES])
    with empty.connect() as connection, engine.connect() as made_by_one:
        assert everything(connection) == everything(made_by_one)
        for branch in (QUEUE, FOOD_TABLES):
            versions = connection.scalars(text(f"SELECT version_num FROM {branch.version_table}"))
            assert versions.all() == branch.revisions()[-1:]


@pytest.mark.process
def test_several_processes_that_migrate_at_once_all_succeed(empty_database_url: str, empty: Engine) -> None:
    programs = [Program("-m", "spoils", "migrate", DATABASE_URL=empty_database_url) for _ in range(3)]
    for program in programs:
        with program:
            assert program.ends() == 0, program.output
            assert "The schema is up to date." in program.output
    check_schema(empty, [FOOD_TABLES])


def test_a_schema_that_is_missing_is_refused_with_the_command_to_run(empty: Engine) -> None:
    with pytest.raises(SchemaBehind, match="python -m spoils migrate"):
        check_schema(empty)


@pytest.mark.parametrize("branch", [QUEUE, FOOD_TABLES], ids=["queue", "food"])
def test_the_schema_of_a_later_release_is_accepted_and_left_alone(engine: Engine, branch: Branch) -> None:
    version = text(f"SELECT version_num FROM {branch.version_table}")
    with engine.begin() as connection:
        connection.execute(text(f"UPDATE {branch.version_table} SET version_num = '9999'"))
    check_schema(engine, [FOOD_TABLES])
    assert migrate(engine, branches=[FOOD_TABLES]) == "9999"
    with engine.connect() as connection:
        assert connection.scalar(version) == "9999"


def test_a_migration_that_fails_leaves_nothing_behind(empty: Engine) -> None:
    with empty.begin() as connection:
        # In the way of a table that the migration makes near its end.
        connection.exec_driver_sql("CREATE TABLE spoils_counts (mine text)")
        before = everything(connection)
    with pytest.raises(Exception, match="spoils_counts"):
        migrate(empty)
    with empty.connect() as connection:
        assert everything(connection) == before


def test_a_worker_does_not_keep_alembic_or_the_web_in_its_memory() -> None:
    code = "import sys, spoils.cli.worker; sys.exit(bool({'alembic', 'spoils.web'} & sys.modules.keys()))"
    with Program("-c", code) as program:
        assert program.ends() == 0, program.output
