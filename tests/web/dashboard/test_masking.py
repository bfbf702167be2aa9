"""What is secret by its name is never shown, however deep it stands."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spoils.web.masking import MASK, masked, masked_text, secret


@pytest.mark.parametrize(
    "key",
    [
        *(
            "password",
            "Password",
            "userPassword",
            "db_password_2",
            "passwd",
            "smtp-passphrase",
            "pwd",
            "user_pass",
        ),
        *(
            "token",
            "access_token",
            "refreshToken",
            "X-Auth-Token",
            "secret",
            "client_secret",
            "authorization",
        ),
        *(
            "api_key",
            "apiKey",
            "API-KEY",
            "apikey",
            "private key",
            "credentials",
            "session_id",
            "cookie",
            "pin",
        ),
    ],
)
def test_a_name_that_speaks_of_a_secret_is_seen(key: str) -> None:
    assert secret(key)


@pytest.mark.parametrize(
    "key",
    ["barcode", "user_id", "compass", "spin", "passenger", "author", "opinion", "monkey", "keyboard", ""],
)
def test_other_names_are_left_alone(key: str) -> None:
    assert not secret(key)


def test_values_are_masked_at_any_depth_and_whatever_they_are() -> None:
    payload = {
        "a": [{"b": {"password": {"old": "x", "new": ["y"]}, "c": 1}}],
        "token": None,
        "n": [1, "t", None],
    }
    assert masked(payload) == {"a": [{"b": {"password": MASK, "c": 1}}], "token": MASK, "n": [1, "t", None]}


def test_the_payload_itself_is_not_touched() -> None:
    payload = {"token": "t", "inner": {"token": "t"}}
    masked(payload)
    assert payload == {"token": "t", "inner": {"token": "t"}}


def test_a_password_inside_a_url_is_masked() -> None:
    assert masked({"to": "postgresql://me:hunter2@db.example/x"}) == {
        "to": f"postgresql://{MASK}@db.example/x"
    }
    assert masked("https://example.org/a:b@c") == "https://example.org/a:b@c"


@pytest.mark.parametrize("value", [None, True, 0, 1.5, "text", [], {}])
def test_what_is_no_object_stays_as_it_is(value: object) -> None:
    assert masked(value) == value


def test_a_payload_of_many_levels_ends_in_an_ellipsis() -> None:
    deep: object = "end"
    for _ in range(500):
        deep = [deep]
    assert "…" in str(masked(deep))
    assert "end" not in str(masked(deep))


def test_a_long_word_takes_no_long_time() -> None:
    long = "w" * 1_000_000
    assert masked([long, "://" * 100_000, ":" * 1_000_000]) == [long, "://" * 100_000, ":" * 1_000_000]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("connect failed: password=hunter2 host=db", "connect failed: password=M host=db"),
        ("DB_PASSWORD: hunter2", "DB_PASSWORD: M"),
        ('{"api_key": "hunter2 x", "user": 7}', '{"api_key": M, "user": 7}'),
        ("self.secret_token = 'hunter2'", "self.secret_token = M"),
        ("GET /x?token=hunter2&page=3 failed", "GET /x?token=M&page=3 failed"),
        ("Authorization: Bearer hunter2", "Authorization: M"),
        ("{'Authorization': 'Basic aHVudGVyMg=='}", "{'Authorization': M}"),
        ("sent Bearer hunter2hunter2 and waited", "sent Bearer M and waited"),
        ("postgres://app:hunter2@db/x refused", "postgres://M@db/x refused"),
        ("GET /x/https%3A%2F%2Fme%3Ahunter2%40db.example%2F", "GET /x/https%3A%2F%2FM@db.example%2F"),
        ("KeyError: 'nutriscore_data'", "KeyError: 'nutriscore_data'"),
        ("Unavailable: 503 from Open Food Facts", "Unavailable: 503 from Open Food Facts"),
        ("", ""),
    ],
)
def test_what_a_text_calls_a_secret_is_masked(text: str, shown: str) -> None:
    assert masked_text(text) == shown.replace("M", MASK)


@given(st.text(max_size=200))
def test_any_text_can_be_masked(text: str) -> None:
    masked_text(text)


def test_a_long_text_is_masked_in_linear_time() -> None:
    # Each would take minutes if a search began again at every letter.
    for piece in ("password", "token=", "'", "://a:", "%3A%2F%2Fa%3A", "Bearer ", "authorization:"):
        masked_text(piece * 5_000)
