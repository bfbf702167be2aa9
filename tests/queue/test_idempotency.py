"""Keys that make a request count once: taken once within a day, and only by what is committed."""

import pytest
from sqlalchemy import Connection, Engine, text

from spoils.queue.idempotency import Kept, keep, take
from tests.locks import held, meanwhile
from tests.rows import Rows

ONE, TWO = "1" * 64, "2" * 64
"""What tells one request from another: hashes."""


def test_a_key_is_taken_once_and_tells_what_was_answered(connection: Connection) -> None:
    assert take(connection, "k", ONE) is None
    keep(connection, "k", status=201, answer="{}", location="/here")
    assert take(connection, "k", TWO) == Kept(ONE, 201, "{}", "/here")
    assert take(connection, "other", ONE) is None
    keep(connection, "other", status=200, answer="[]", location=None)
    assert take(connection, "k", ONE) == Kept(ONE, 201, "{}", "/here")


@pytest.mark.parametrize(("hours", "free"), [(23.9, False), (24.1, True)])
def test_a_key_is_free_again_after_a_day(
    connection: Connection, rows: Rows, hours: float, free: bool
) -> None:
    take(connection, "k", ONE)
    keep(connection, "k", status=201, answer="{}", location=None)
    connection.execute(
        text("UPDATE spoils_idempotency_keys SET created_at = now() - make_interval(secs => :age)"),
        {"age": hours * 3600},
    )
    assert (take(connection, "k", TWO) is None) is free
    columns = rows.all("SELECT request, status, answer FROM spoils_idempotency_keys")
    assert columns == [(TWO, None, None) if free else (ONE, 201, "{}")]


@pytest.mark.parametrize("commits", [True, False])
def test_who_comes_second_waits_for_the_first_and_takes_the_key_only_where_that_fails(
    engine: Engine, commits: bool
) -> None:
    with held(engine) as first:
        assert take(first, "k", ONE) is None
        keep(first, "k", status=200, answer="1", location=None)
        with meanwhile(engine, lambda connection: take(connection, "k", TWO)) as second:
            if commits:
                first.commit()
            else:
                first.rollback()
        assert second.result() == (Kept(ONE, 200, "1", None) if commits else None)
