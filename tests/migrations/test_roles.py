"""The table in the hands of roles with few rights, and of an owner who has lost some."""

from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import ProgrammingError

from spoils.db import sharing
from spoils.db.engine import make_engine, transaction
from spoils.db.migrate import check_schema, migrate
from spoils.queue.batches import new_batch, put_batch
from spoils.queue.counts import count_tasks, recount
from spoils.queue.enqueue import enqueue
from tests.conftest import administration
from tests.migrations.old_tables import FANG_INSERT
from tests.roles import a_role, as_role
from tests.sample_jobs import UniqueSampleJob

MakeEngine = Callable[[str], Engine]


@pytest.fixture
def owner(postgres_url: str) -> Iterator[str]:
    with administration(postgres_url) as connection, a_role(connection) as name:
        yield name


@pytest.fixture
def other(postgres_url: str) -> Iterator[str]:
    with administration(postgres_url) as connection, a_role(connection) as name:
        yield name


@pytest.fixture
def engine_as(owner: str, other: str, empty_database_url: str) -> Iterator[MakeEngine]:
    """Connect to a database with a schema named like the owner, where it stands first in the owner's path."""
    made: list[Engine] = []

    def make(url: str) -> Engine:
        made.append(make_engine(url, connections=5, application_name="tests", autocommit=True))
        return made[-1]

    with make(empty_database_url).connect() as connection:
        connection.exec_driver_sql(f"CREATE SCHEMA {owner} AUTHORIZATION {owner}")
    yield lambda role: make(as_role(empty_database_url, role))
    for engine in made:
        engine.dispose()


@pytest.fixture
def owned(engine_as: MakeEngine, owner: str) -> Engine:
    """The owner's engine, whose tables are in its own schema."""
    engine = engine_as(owner)
    migrate(engine.execution_options(isolation_level="READ COMMITTED"))
    check_schema(engine)
    return engine


@pytest.fixture
def rusty(engine_as: MakeEngine, owned: Engine, owner: str, other: str) -> Engine:
    """The engine of a role with rights on the table alone."""
    with owned.connect() as connection:
        connection.exec_driver_sql(f"GRANT USAGE ON SCHEMA {owner} TO {other}")
        connection.exec_driver_sql(
            f"GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON {owner}.fang_tasks TO {other}"
        )
    return engine_as(other)


NAMES = ("inserted", "updated", "deleted", "truncated")


def counts(connection: Connection) -> dict[str, int]:
    of_type = count_tasks(connection).get("common", {})
    return {state.value: number for state, number in of_type.items() if number}


def look_in(connection: Connection, schema: str) -> None:
    connection.exec_driver_sql(f"SET search_path = {schema}")


def test_a_role_with_rights_on_the_table_alone_inserts_claims_and_deletes(
    rusty: Engine, owned: Engine, owner: str
) -> None:
    with rusty.connect() as theirs, owned.connect() as connection:
        look_in(theirs, owner)
        for _ in range(3):
            theirs.execute(text(FANG_INSERT), {"metadata": '{"type": "Nightly"}', "task_type": "common"})
        claim = "UPDATE fang_tasks SET state = 'in_progress', updated_at = now()"
        theirs.exec_driver_sql(claim)
        assert counts(connection) == {"in_progress": 3}
        with transaction(owned) as migrating:
            sharing.begin(migrating)
        assert theirs.exec_driver_sql(claim).rowcount == 0
        theirs.exec_driver_sql("UPDATE fang_tasks SET uniq_hash = 'x'")
        theirs.exec_driver_sql("UPDATE fang_tasks SET state = 'retried'")
        assert counts(connection) == {"retried": 3}
        theirs.exec_driver_sql("DELETE FROM fang_tasks WHERE id IN (SELECT id FROM fang_tasks LIMIT 1)")
        assert counts(connection) == {"retried": 2}
        theirs.exec_driver_sql("TRUNCATE fang_tasks")
        assert counts(connection) == {}


def test_a_second_role_enqueues_where_the_schema_is_named_like_its_owner(
    rusty: Engine, owned: Engine, owner: str
) -> None:
    with rusty.connect() as theirs, owned.connect() as connection:
        look_in(theirs, owner)
        first = enqueue(theirs, UniqueSampleJob(number=1))
        assert enqueue(theirs, UniqueSampleJob(number=1)).id == first.id
        assert connection.scalar(text("SELECT sum(delta) FROM spoils_counts")) == 1


def test_a_batch_ends_by_the_hands_of_a_role_with_rights_on_the_table_alone(
    rusty: Engine, owned: Engine, owner: str
) -> None:
    batch = new_batch(then=UniqueSampleJob(), name=None, on="end")
    batch.enqueue(UniqueSampleJob(number=1))
    with transaction(owned) as connection:
        put_batch(connection, batch)
    with rusty.connect() as theirs, owned.connect() as connection:
        look_in(theirs, owner)
        theirs.exec_driver_sql("UPDATE fang_tasks SET state = 'finished'")
        assert connection.exec_driver_sql("SELECT count(*) FROM fang_tasks WHERE state = 'new'").scalar() == 1
        for forged in ("spoils_count_members(NULL, 1, 0, 0, 0)", "spoils_was_cancelled(NULL, 1, '')"):
            with pytest.raises(ProgrammingError, match="permission denied for function"):
                theirs.exec_driver_sql(f"SELECT {forged}")


def test_no_function_of_ours_looks_anything_up_by_the_path_of_its_caller(owned: Engine) -> None:
    functions = text(
        "SELECT proname, prosecdef, array_to_string(proconfig, ';') FROM pg_proc "
        "WHERE proname LIKE 'spoils\\_tasks\\_%' ORDER BY proname"
    )
    with owned.connect() as connection:
        assert [tuple(row) for row in connection.execute(functions)] == [
            ("spoils_tasks_deleted", True, "search_path=pg_catalog, pg_temp"),
            ("spoils_tasks_deleted_in_batches", True, None),
            ("spoils_tasks_inserted", True, "search_path=pg_catalog, pg_temp"),
            ("spoils_tasks_inserted_in_batches", True, None),
            ("spoils_tasks_truncated", True, "search_path=pg_catalog, pg_temp"),
            ("spoils_tasks_truncated_in_batches", True, "search_path=pg_catalog, pg_temp"),
            ("spoils_tasks_updated", True, None),
            ("spoils_tasks_updated_in_batches", True, None),
        ]


def test_what_a_caller_puts_before_the_operators_and_functions_of_the_server_is_not_called_as_the_owner(
    rusty: Engine, engine_as: MakeEngine, empty_database_url: str, owner: str, other: str
) -> None:
    with engine_as("none").connect() as connection:
        connection.exec_driver_sql(f"CREATE SCHEMA trap AUTHORIZATION {other}")
    with rusty.connect() as theirs:
        theirs.exec_driver_sql(
            """
            CREATE TABLE trap.caught (by text);
            GRANT ALL ON trap.caught TO PUBLIC;
            GRANT USAGE ON SCHEMA trap TO PUBLIC;
            CREATE FUNCTION trap.differ(bigint, integer) RETURNS boolean LANGUAGE plpgsql AS $$
                BEGIN INSERT INTO trap.caught VALUES (current_user); RETURN $1 OPERATOR(pg_catalog.<>) $2; END $$;
            CREATE OPERATOR trap.<> (FUNCTION = trap.differ, LEFTARG = bigint, RIGHTARG = integer);
            CREATE FUNCTION trap.add(bigint, integer) RETURNS bigint LANGUAGE plpgsql AS $$
                BEGIN INSERT INTO trap.caught VALUES (current_user); RETURN $1 OPERATOR(pg_catalog.+) $2; END $$;
            CREATE AGGREGATE trap.sum(integer) (SFUNC = trap.add, STYPE = bigint, INITCOND = '0');
            """
        )
        for name, true_one in (("=", "enum_eq"), ("<>", "enum_ne")):
            theirs.exec_driver_sql(
                f"""
                CREATE FUNCTION trap.{true_one}({owner}.fang_task_state, {owner}.fang_task_state)
                RETURNS boolean LANGUAGE plpgsql AS $$
                    BEGIN INSERT INTO trap.caught VALUES (current_user); RETURN pg_catalog.{true_one}($1, $2); END $$;
                CREATE OPERATOR trap.{name} (
                    FUNCTION = trap.{true_one},
                    LEFTARG = {owner}.fang_task_state, RIGHTARG = {owner}.fang_task_state
                );
                """
            )
        theirs.exec_driver_sql(f"SET search_path = trap, pg_catalog, {owner}")
        theirs.exec_driver_sql("INSERT INTO fang_tasks (metadata) VALUES ('{}')")
        theirs.exec_driver_sql("UPDATE fang_tasks SET batch_id = id")
        theirs.exec_driver_sql("UPDATE fang_tasks SET state = 'failed'")
        theirs.exec_driver_sql("INSERT INTO fang_tasks (metadata, batch_id) SELECT '{}', id FROM fang_tasks")
        theirs.exec_driver_sql("DELETE FROM fang_tasks")
        assert theirs.exec_driver_sql("SELECT * FROM trap.caught").all() == []
        # The trap itself is sound.
        theirs.exec_driver_sql("SELECT sum(1) <> 2")
        theirs.exec_driver_sql(
            f"SELECT state = 'new', state <> 'new' FROM (SELECT 'new'::{owner}.fang_task_state) AS one (state)"
        )
        assert len(theirs.exec_driver_sql("SELECT * FROM trap.caught").all()) == 4


def test_nobody_else_puts_a_trigger_of_ours_on_a_table_of_his_own(
    rusty: Engine, engine_as: MakeEngine, owner: str, other: str
) -> None:
    with engine_as("none").connect() as connection:
        connection.exec_driver_sql(f"CREATE SCHEMA own AUTHORIZATION {other}")
    with rusty.connect() as theirs:
        theirs.exec_driver_sql("CREATE TABLE own.tasks (task_type text, state text)")
        names = [f"{name}{suffix}" for name in NAMES for suffix in ("", "_in_batches")]
        for name in names:
            with pytest.raises(ProgrammingError, match="permission denied for function"):
                theirs.exec_driver_sql(
                    "CREATE TRIGGER forged AFTER INSERT ON own.tasks REFERENCING NEW TABLE AS added "
                    f"FOR EACH STATEMENT EXECUTE FUNCTION {owner}.spoils_tasks_{name}()"
                )


@pytest.mark.parametrize("gone", ["DELETE FROM fang_tasks WHERE state = 'failed'", "TRUNCATE fang_tasks"])
def test_rows_go_where_the_owner_has_lost_the_right_to_write_and_a_recount_corrects_the_counts(
    owned: Engine, owner: str, gone: str
) -> None:
    with owned.connect() as connection:
        connection.exec_driver_sql("INSERT INTO fang_tasks (metadata) SELECT '{}' FROM generate_series(1, 5)")
        connection.exec_driver_sql(
            "UPDATE fang_tasks SET state = 'failed' WHERE id IN (SELECT id FROM fang_tasks LIMIT 2)"
        )
        connection.exec_driver_sql(f"REVOKE INSERT, UPDATE ON ALL TABLES IN SCHEMA {owner} FROM {owner}")
        with pytest.raises(ProgrammingError, match="permission denied"):
            connection.exec_driver_sql("INSERT INTO fang_tasks (metadata) VALUES ('{}')")
        connection.exec_driver_sql(gone)
        assert (
            connection.exec_driver_sql("SELECT count(*) FROM fang_tasks WHERE state = 'failed'").scalar() == 0
        )
        connection.exec_driver_sql(f"GRANT INSERT, UPDATE ON ALL TABLES IN SCHEMA {owner} TO {owner}")
        with transaction(owned) as counting:
            recount(counting)
        left = connection.exec_driver_sql("SELECT count(*) FROM fang_tasks").scalar()
        assert counts(connection) == ({"new": left} if left else {})
