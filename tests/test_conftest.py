"""What conftest.py gives to every test."""

import os

import psycopg2
import pytest
from playwright.sync_api import Browser


def test_the_server_of_the_tests_has_room_for_many_connections(postgres_url: str) -> None:
    connection = psycopg2.connect(postgres_url)
    try:
        with connection.cursor() as cursor:
            cursor.execute("SHOW max_connections")
            (limit,) = cursor.fetchone()
    finally:
        connection.close()
    assert int(limit) >= (100 if os.environ.get("SPOILS_TEST_DATABASE_URL") else 200)


def test_the_server_of_the_tests_is_of_the_version_that_was_asked_for(
    pytestconfig: pytest.Config, postgres_url: str
) -> None:
    connection = psycopg2.connect(postgres_url)
    version = connection.server_version // 10000
    connection.close()
    if not os.environ.get("SPOILS_TEST_DATABASE_URL"):
        assert version == pytestconfig.getoption("--postgres")


@pytest.mark.browser
def test_the_browser_shows_a_page(browser: Browser) -> None:
    page = browser.new_page()
    page.set_content("<title>Spoils</title><h1>Tasks</h1>")
    assert page.title() == "Spoils"
    assert page.get_by_role("heading").inner_text() == "Tasks"
    page.close()
