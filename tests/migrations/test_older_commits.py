"""A database of a commit before 0.1.0 is brought up to date in place, with every row kept."""

import re
from collections.abc import Iterator

import pytest
from sqlalchemy import Connection, Engine, text

from spoils.cli.composition import FOOD_TABLES
from spoils.db.engine import make_engine
from spoils.db.migrate import QUEUE, SchemaBehind, TableBusy, check_schema, migrate
from spoils.errors import ForeignTable
from spoils.queue.counts import count_tasks, recount
from tests.migrations import old_tables
from tests.migrations.catalogs import everything
from tests.migrations.old_tables import GUIDE, GUIDE_WITH_TIMES

REVISIONS = ["0001", "0002", "0004", "0006", "0009", "0010", "0011"]
QUARTERS = """
INSERT INTO spoils_quarters (quarter, task_type, outcome, bucket, count, ran_ms) VALUES
    ('2026-11-24 10:15+00', 'sample', 'finished', 9, 2, 20),
    ('2026-11-24 10:15+00', 'sample', 'finished', 4, 1, 3),
    ('2026-11-24 10:15+00', 'sample', 'failed', 4, 5, 15)
"""
FOOD_ROWS = """
INSERT INTO products (barcode, name, document) VALUES ('0737628064502', 'Noodles', '{"code": "0737628064502"}');
INSERT INTO ingredient_analyses (product_id, source, vegan, vegetarian, palm_oil, analysis)
SELECT id, 'text', 'maybe', 'yes', 'no', '{}' FROM products;
"""
FOOD_NAMES = text(
    "SELECT p::text, a::text FROM products AS p JOIN ingredient_analyses AS a ON a.product_id = p.id"
)
VERSIONS = text("SELECT version_num, adopted FROM spoils_version")


@pytest.fixture
def old(empty_database_url: str) -> Iterator[Engine]:
    engine = make_engine(empty_database_url, connections=5, application_name="tests")
    yield engine
    engine.dispose()


def make(connection: Connection, revision: str, *, table: str = "", schema: str = "public") -> None:
    """Make the schema of an older commit; `table` is the old system's, which it adopted."""
    sql = old_tables.OLDER_COMMITS.partition(f"-- revision {int(revision) + 1:04d}")[0]
    sql = sql.replace(" public.", f" {schema}.").replace("'public.", f"'{schema}.")
    if table:
        connection.exec_driver_sql(table)
        sql = re.sub(r"CREATE TYPE fang_task_state.*?\n\);", "", sql, count=1, flags=re.DOTALL)
    connection.exec_driver_sql(sql.replace("%", "%%"))


@pytest.mark.parametrize("revision", REVISIONS)
def test_the_schema_of_any_older_commit_becomes_a_fresh_one_and_every_row_stays(
    engine: Engine, old: Engine, revision: str
) -> None:
    with old.begin() as connection:
        make(connection, revision)
        old_tables.fill(connection, 50)
        connection.exec_driver_sql(FOOD_ROWS)
        rows, counted = old_tables.contents(connection), count_tasks(connection)
        food = connection.execute(FOOD_NAMES).all()
    if revision != QUEUE.revisions()[-1]:
        with pytest.raises(SchemaBehind):
            check_schema(old)
    migrate(old, branches=[FOOD_TABLES])
    check_schema(old, [FOOD_TABLES])
    with old.begin() as connection, engine.connect() as fresh:
        assert everything(connection) == everything(fresh)
        assert old_tables.contents(connection) == rows
        assert connection.execute(FOOD_NAMES).all() == food
        assert count_tasks(connection) == counted
        assert recount(connection) == []
        # What the release of that commit finds is its own revision, or a newer one.
        assert connection.execute(VERSIONS).all() == [(QUEUE.revisions()[-1], None)]


@pytest.mark.parametrize("table", [GUIDE, GUIDE_WITH_TIMES], ids=["guide", "guide with times"])
def test_a_table_that_an_older_commit_has_adopted_keeps_its_defaults(old: Engine, table: str) -> None:
    with old.begin() as connection:
        make(connection, "0009", table=table)
        columns = old_tables.columns(connection)
    migrate(old)
    with old.connect() as connection:
        assert old_tables.columns(connection) == columns


def test_the_buckets_of_a_quarter_are_rolled_up_into_one_row(old: Engine) -> None:
    with old.begin() as connection:
        make(connection, "0004")
        connection.exec_driver_sql(QUARTERS)
    migrate(old)
    with old.connect() as connection:
        rows = connection.execute(
            text(
                "SELECT outcome, count, ran_ms, buckets, counts FROM spoils_quarters "
                "WHERE quarter = '2026-11-24 10:15+00' AND task_type = 'sample' ORDER BY outcome"
            )
        )
        assert rows.all() == [("failed", 5, 15, [4], [5]), ("finished", 3, 23, [4, 9], [1, 2])]


def test_a_table_that_somebody_holds_is_not_waited_for_by_everybody(old: Engine) -> None:
    with old.begin() as connection:
        make(connection, "0006")
    with old.connect() as holder:
        holder.execute(text("SELECT count(*) FROM fang_tasks"))
        with pytest.raises(TableBusy, match=r"Nothing was changed: run it again"):
            migrate(old)
        with old.connect() as connection:
            assert connection.scalar(text("SELECT version_num FROM spoils_version")) == "0006"
    migrate(old)
    check_schema(old)


def test_a_schema_of_any_name_is_found_and_kept_although_another_one_now_comes_first(old: Engine) -> None:
    schema = '"Foods: 100 % :x"'

    def set_path(path: str) -> None:
        with old.begin() as connection:
            name = connection.scalar(text("SELECT quote_ident(current_database())"))
            connection.exec_driver_sql(f"ALTER DATABASE {name} SET search_path TO {path}".replace("%", "%%"))
        old.dispose()

    with old.begin() as connection:
        connection.exec_driver_sql(f"CREATE SCHEMA {schema}".replace("%", "%%"))
        connection.exec_driver_sql("CREATE SCHEMA newer")
    set_path(schema)
    with old.begin() as connection:
        make(connection, "0008", schema=schema)
    set_path(f"newer, {schema}")
    migrate(old, branches=[FOOD_TABLES])
    with old.begin() as connection:
        connection.execute(text("INSERT INTO fang_tasks (metadata) VALUES ('{}')"))
        connection.execute(text("UPDATE fang_tasks SET state = 'failed'"))
        counts = connection.execute(text("SELECT state, sum(delta) FROM spoils_counts GROUP BY 1"))
        assert {state: number for state, number in counts if number} == {"failed": 1}
        schemas = connection.scalars(
            text("SELECT DISTINCT schemaname FROM pg_tables WHERE tablename ~ 'spoils|fang|prod'")
        )
        assert schemas.all() == ["Foods: 100 % :x"]


def test_food_s_tables_stay_as_they_are_until_the_food_service_is_composed(old: Engine) -> None:
    with old.begin() as connection:
        make(connection, "0001")
        connection.exec_driver_sql(FOOD_ROWS)
        food = connection.execute(FOOD_NAMES).all()
    migrate(old)
    check_schema(old)
    with pytest.raises(SchemaBehind):
        check_schema(old, [FOOD_TABLES])
    migrate(old, branches=[FOOD_TABLES])
    check_schema(old, [FOOD_TABLES])
    with old.connect() as connection:
        assert connection.execute(FOOD_NAMES).all() == food


def test_a_table_products_of_another_program_is_refused_and_left_alone(old: Engine) -> None:
    with old.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE products (sku text)")
    with pytest.raises(ForeignTable, match="There is a table products, but it is not that of Spoils"):
        migrate(old, branches=[FOOD_TABLES])
    migrate(old)
    check_schema(old)
