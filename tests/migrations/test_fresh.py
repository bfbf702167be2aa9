"""An empty database is brought to this release's schema, once, by however many processes ask."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, text

from spoils.db.engine import make_engine
from spoils.db.migrate import SchemaBehind, TableBusy, check_schema, migrate, revisions
from spoils.migrations.versions import r0007_ordered_ids
from spoils.models import db
from tests.conftest import a_database
from tests.migrations.old_tables import GUIDE, columns
from tests.programs import Program

SCHEMA = {
    "columns": r"""
        SELECT table_name, column_name, data_type, udt_name, character_maximum_length, is_nullable,
               is_identity, regexp_replace(column_default, '^''(.*)''::smallint$', '\1')
        FROM information_schema.columns
        WHERE table_schema = 'public' AND table_name <> 'spoils_version'
        ORDER BY 1, 2
    """,
    "indexes": """
        SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' AND tablename <> 'spoils_version' ORDER BY 1
    """,
    "constraints": """
        SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid)
        FROM pg_constraint
        WHERE connamespace = 'public'::regnamespace
          AND conrelid::regclass::text <> 'spoils_version'
          AND contype <> 'n' -- PostgreSQL 18 names each NOT NULL
        ORDER BY 1, 2
    """,
}

VERSION = text("SELECT version_num FROM spoils_version")


@pytest.fixture
def empty(empty_database_url: str) -> Iterator[Engine]:
    engine = make_engine(empty_database_url, connections=5, application_name="tests")
    yield engine
    engine.dispose()


@pytest.fixture
def second_database_url(postgres_url: str) -> Iterator[str]:
    yield from a_database(postgres_url, "")


def schema(connection: Connection) -> set[tuple[object, ...]]:
    return {(kind, *row) for kind, statement in SCHEMA.items() for row in connection.execute(text(statement))}


def test_alembic_finds_no_difference_between_the_migrated_schema_and_the_models(engine: Engine) -> None:
    with engine.connect() as connection:
        context = MigrationContext.configure(
            connection, opts={"version_table": "spoils_version", "compare_type": True}
        )
        assert compare_metadata(context, db.metadata) == []


def test_the_migrated_schema_is_what_the_models_would_make_predicates_and_names_included(
    engine: Engine, second_database_url: str
) -> None:
    made = make_engine(second_database_url, connections=1, application_name="tests")
    with made.begin() as connection:
        connection.exec_driver_sql(GUIDE.partition("CREATE TABLE")[0])
        connection.exec_driver_sql(r0007_ordered_ids.NEW_ID)
        db.metadata.create_all(connection)
        of_the_models = schema(connection)
    made.dispose()
    with engine.connect() as connection:
        migrated = schema(connection)
    assert migrated - of_the_models == set()
    assert of_the_models - migrated == set()


def test_a_fresh_table_has_the_columns_of_the_guide(engine: Engine, second_database_url: str) -> None:
    guide = make_engine(second_database_url, connections=1, application_name="tests")
    with guide.begin() as connection:
        connection.exec_driver_sql(GUIDE)
        expected = columns(connection)
    guide.dispose()
    with engine.connect() as connection:
        found = columns(connection)
    assert [column[:4] for column in found] == [column[:4] for column in expected]
    # Our ids are ordered by time; and the guide gives the three times no default, which takes nothing away.
    assert found[0][4:] == ("spoils_new_id()", "NO")
    assert [column[4:] for column in found[1:7]] == [column[4:] for column in expected[1:7]]
    assert [column[4:] for column in found[7:]] == [("now()", "NO")] * 3


def test_migrating_twice_changes_nothing(engine: Engine, database_url: str) -> None:
    with engine.connect() as connection:
        before, version = schema(connection), connection.scalars(VERSION).all()
    again = make_engine(database_url, connections=1, application_name="tests")
    migrate(again)
    again.dispose()
    with engine.connect() as connection:
        assert schema(connection) == before
        assert connection.scalars(VERSION).all() == version
        assert len(version) == 1


def test_many_connections_that_migrate_at_once_do_it_once(empty: Engine) -> None:
    ready = threading.Barrier(5)

    def one() -> None:
        ready.wait()
        migrate(empty)

    with ThreadPoolExecutor(5) as pool:
        for done in [pool.submit(one) for _ in range(5)]:
            done.result()
    check_schema(empty)
    with empty.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM spoils_version")).scalar_one() == 1


@pytest.mark.process
def test_several_processes_that_migrate_at_once_all_succeed(empty_database_url: str, empty: Engine) -> None:
    programs = [Program("-m", "spoils", "migrate", DATABASE_URL=empty_database_url) for _ in range(3)]
    for program in programs:
        with program:
            assert program.ends() == 0, program.output
            assert "The schema is up to date." in program.output
    check_schema(empty)


def test_a_schema_that_is_missing_or_older_is_refused_with_the_command_to_run(empty: Engine) -> None:
    with pytest.raises(SchemaBehind, match="python -m spoils migrate"):
        check_schema(empty)


def test_the_schema_of_a_later_release_is_taken_since_both_run_during_a_rollout(engine: Engine) -> None:
    with engine.connect() as connection:
        connection.execute(text("UPDATE spoils_version SET version_num = '9999'"))
    check_schema(engine)


def test_a_migration_that_fails_leaves_nothing_behind(empty: Engine) -> None:
    with empty.begin() as connection:
        # In the way of a table that the migration makes near its end.
        connection.exec_driver_sql("CREATE TABLE ingredient_analyses (mine text)")
        before = schema(connection)
    with pytest.raises(Exception, match="ingredient_analyses"):
        migrate(empty)
    with empty.connect() as connection:
        assert schema(connection) == before


def test_the_files_names_tell_the_revisions_in_their_order() -> None:
    config = Config()
    config.set_main_option("script_location", "spoils:migrations")
    scripts = list(ScriptDirectory.from_config(config).walk_revisions("base", "heads"))
    assert revisions() == [script.revision for script in reversed(scripts)]


def test_a_worker_does_not_keep_alembic_or_the_web_in_its_memory() -> None:
    code = "import sys, spoils.cli.worker; sys.exit(bool({'alembic', 'spoils.web'} & sys.modules.keys()))"
    with Program("-c", code) as program:
        assert program.ends() == 0, program.output


def test_what_stands_in_quarters_by_bucket_comes_into_one_row_each(empty: Engine) -> None:
    migrate(empty, revision="0004")
    with empty.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO spoils_quarters (quarter, task_type, outcome, bucket, count, ran_ms) VALUES "
                "('2026-11-24 10:15+00', 'sample', 'finished', 9, 2, 20), "
                "('2026-11-24 10:15+00', 'sample', 'finished', 4, 1, 3), "
                "('2026-11-24 10:15+00', 'sample', 'failed', 4, 5, 15)"
            )
        )
    migrate(empty)
    with empty.connect() as connection:
        rows = connection.execute(
            text(
                "SELECT outcome, count, ran_ms, buckets, counts FROM spoils_quarters "
                "WHERE quarter = '2026-11-24 10:15+00' AND task_type = 'sample' ORDER BY outcome"
            )
        ).all()
    assert [tuple(row) for row in rows] == [("failed", 5, 15, [4], [5]), ("finished", 3, 23, [4, 9], [1, 2])]


def test_a_table_that_somebody_holds_is_not_waited_for_by_everybody(empty: Engine) -> None:
    migrate(empty, revision="0006")
    with empty.connect() as holder:
        holder.execute(text("SELECT count(*) FROM fang_tasks"))
        with pytest.raises(TableBusy, match=r"Nothing was changed: run it again"):
            migrate(empty)
        with empty.connect() as connection:
            assert connection.scalars(VERSION).all() == ["0006"]
    migrate(empty)
    check_schema(empty)


def test_a_schema_of_any_name_is_found_also_where_another_comes_first_by_now(empty: Engine) -> None:
    def look_in(path: str) -> None:
        with empty.begin() as connection:
            name = connection.scalar(text("SELECT quote_ident(current_database())"))
            connection.exec_driver_sql(f"ALTER DATABASE {name} SET search_path TO {path}")
        empty.dispose()

    with empty.begin() as connection:
        connection.exec_driver_sql('CREATE SCHEMA "Foods: 100 %% :x"')
        connection.exec_driver_sql("CREATE SCHEMA newer")
    look_in('"Foods: 100 %% :x"')
    migrate(empty, revision="0008")
    look_in('newer, "Foods: 100 %% :x"')
    migrate(empty)
    with empty.begin() as connection:
        connection.execute(text("INSERT INTO fang_tasks (metadata) VALUES ('{}')"))
        connection.execute(text("UPDATE fang_tasks SET state = 'failed'"))
        counts = connection.execute(text("SELECT state, sum(delta) FROM spoils_counts GROUP BY 1"))
        assert {state: number for state, number in counts if number} == {"failed": 1}
        functions = text("SELECT proconfig FROM pg_proc WHERE proname = 'spoils_tasks_updated'")
        assert connection.scalars(functions).all() == [None]
