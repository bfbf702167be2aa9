"""The revision of uniqueness, on a database of the release before it."""

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import IntegrityError

from spoils.db import sharing
from spoils.db.engine import make_engine
from spoils.db.migrate import migrate
from tests.migrations.revisions import migrate_to

ROW = "INSERT INTO fang_tasks (metadata, uniq_hash, state) VALUES ('{}', repeat('a', 64), '%s')"
DUPLICATE = text("SELECT state::text, duplicate FROM spoils_put(CAST(:tasks AS jsonb))")
# What the client of the release before sends.
OLD_TASK = (
    '[{"id": "0195a8f0-0000-7000-a000-000000000000", "metadata": {}, "task_type": "sample", "priority": 0, '
    '"at": null, "uniq_hash": "%s"}]' % ("a" * 64)
)


@pytest.fixture
def older(empty_database_url: str) -> Iterator[Engine]:
    engine = make_engine(empty_database_url, connections=2, application_name="tests")
    migrate_to(engine, "0014")
    yield engine
    engine.dispose()


def test_rows_keep_their_uniqueness_and_clients_of_the_release_before_meet_it(older: Engine) -> None:
    with older.begin() as connection:
        connection.exec_driver_sql(ROW % "in_progress")
        connection.exec_driver_sql("CREATE SCHEMA earlier")
        connection.exec_driver_sql("SET search_path = earlier, public")
    migrate(older)
    with older.begin() as connection:
        assert connection.execute(DUPLICATE, {"tasks": OLD_TASK}).all() == [("in_progress", True)]
        assert connection.execute(text("SELECT to_regclass('public.spoils_steps')")).scalar_one()
    with pytest.raises(IntegrityError), older.begin() as connection:
        connection.exec_driver_sql(ROW % "new")


def test_a_table_that_is_shared_with_rust_workers_keeps_its_index(older: Engine) -> None:
    with older.begin() as connection:
        sharing.begin(connection)
    migrate(older, shared_with_fang=True)
    with older.begin() as connection:
        connection.exec_driver_sql(ROW % "in_progress")
        connection.exec_driver_sql(ROW % "new")
