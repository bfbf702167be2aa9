"""The revision of the totals, on a database that has statistics already."""

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, text

from spoils.db.engine import make_engine
from spoils.db.migrate import migrate
from spoils.queue.total_rollups import roll_up_totals
from spoils.reports.attempt_stats import total_stats
from tests.migrations.revisions import migrate_to

MINUTES = """
INSERT INTO spoils_minutes (minute, task_type, outcome, bucket, count, ran_ms)
SELECT date_trunc('minute', now() - make_interval(mins => ago)), 'sample', 'finished', 3, 1, 7
FROM unnest(ARRAY[0, 60, 70, 30000]) AS ago
"""


@pytest.fixture
def older(empty_database_url: str) -> Iterator[Engine]:
    engine = make_engine(empty_database_url, connections=1, application_name="tests")
    migrate_to(engine, "0013")
    yield engine
    engine.dispose()


def test_the_minutes_that_are_there_are_counted_once_and_the_table_is_beside_theirs(older: Engine) -> None:
    with older.begin() as connection:
        connection.exec_driver_sql(MINUTES)
        connection.exec_driver_sql("CREATE SCHEMA earlier")
        connection.exec_driver_sql("SET search_path = earlier, public")
    migrate(older)
    with older.begin() as connection:
        totals = connection.execute(
            text("SELECT task_type, outcome, bucket, count, ran_ms FROM public.spoils_totals")
        )
        assert totals.all() == [("sample", "finished", 3, 3, 21)]
        roll_up_totals(connection)
        assert total_stats(connection)["sample"].outcomes == {"finished": 4}
