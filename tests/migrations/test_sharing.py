"""The end of sharing the table with Rust workers."""

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import IntegrityError

from spoils.db import sharing
from spoils.db.engine import make_engine, transaction
from spoils.db.migrate import migrate
from tests.rows import Rows

HASH = "a" * 64


@pytest.fixture
def shared(empty_database_url: str) -> Engine:
    engine = make_engine(empty_database_url, connections=5, application_name="tests")
    migrate(engine, shared_with_fang=True)
    return engine


def test_from_then_on_a_twin_of_what_runs_is_refused(shared: Engine) -> None:
    with shared.begin() as connection:
        rows = Rows(connection)
        running = rows.task(state="in_progress", uniq_hash=HASH)
        waiting = rows.task(uniq_hash=HASH)
    for _ in range(2):
        with shared.begin() as connection:
            sharing.end(connection)
    with shared.begin() as connection:
        rows = Rows(connection)
        assert (rows.one(running).uniq_hash, rows.one(waiting).uniq_hash) == (HASH, None)
        assert rows.state(waiting) == "new"
    with pytest.raises(IntegrityError), shared.begin() as connection:
        Rows(connection).task(uniq_hash=HASH)
    shared.dispose()


def test_where_the_table_was_never_shared_nothing_changes(engine: Engine) -> None:
    index = text(
        "SELECT oid, pg_get_indexdef(oid) FROM pg_class WHERE relname = 'fang_tasks_active_hash_idx'"
    )
    with transaction(engine) as connection:
        before = connection.execute(index).one()
        sharing.end(connection)
        assert connection.execute(index).one() == before
