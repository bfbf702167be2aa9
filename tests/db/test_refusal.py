"""A refusal is judged by its SQLSTATE, whatever language the server speaks."""

import pytest

from spoils.db.engine import make_engine
from spoils.db.refusal import is_final, refusal_of
from spoils.errors import UnsuitableDatabase
from tests.fake_postgres import FakePostgres, greeting, refusal


@pytest.mark.parametrize(
    ("sqlstate", "final"),
    [
        ("28P01", True),
        ("28000", True),
        ("3D000", True),
        ("42501", True),
        ("42704", True),
        ("57P03", False),
        ("53300", False),
        ("08P01", False),
    ],
)
def test_what_waiting_does_not_mend_is_final(sqlstate: str, final: bool) -> None:
    with FakePostgres(lambda _: refusal(sqlstate, "致命的エラー", "駄目です: 28P01: FATAL")) as server:
        assert refusal_of(server.url) == sqlstate
        assert is_final(server.url, "connection failed") is final


def test_a_server_that_does_not_answer_or_accepts_has_not_refused(database_url: str) -> None:
    assert refusal_of("postgresql://spoils@127.0.0.1:1/nowhere") is None
    assert refusal_of(database_url) is None


@pytest.mark.parametrize(
    ("version", "encoding", "sentence"),
    [
        ("13.14 (Debian)", "UTF8", "The server is PostgreSQL 13. Spoils needs 14 or newer."),
        ("16.4", "SQL_ASCII", "The database's encoding is SQL_ASCII. Spoils needs UTF8: .*"),
        ("16.4", "LATIN1", "The database's encoding is LATIN1. Spoils needs UTF8: .*"),
    ],
)
def test_a_server_that_is_too_old_or_not_utf8_is_refused_at_each_connection(
    version: str, encoding: str, sentence: str
) -> None:
    with FakePostgres(lambda _: greeting(server_version=version, server_encoding=encoding)) as server:
        engine = make_engine(server.url, connections=1, application_name="a test")
        for _ in range(2):
            with pytest.raises(UnsuitableDatabase, match=f"^{sentence}$"):
                engine.connect()
        engine.dispose()
