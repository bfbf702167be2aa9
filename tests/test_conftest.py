"""What conftest.py gives to every test."""

import os

import psycopg2
import pytest


@pytest.mark.skipif("SPOILS_TEST_DATABASE_URL" in os.environ, reason="the server is not the tests' own")
def test_the_server_of_the_tests_has_the_version_that_was_asked_for(
    pytestconfig: pytest.Config, postgres_url: str
) -> None:
    connection = psycopg2.connect(postgres_url)
    version = connection.server_version // 10000
    connection.close()
    assert version == pytestconfig.getoption("--postgres")
