"""No secret is shown, whatever its name is and wherever it stands."""

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spoils.masking import MASK, masked, masked_text, secret

SECRET = "hunter2-9f3a"

NAMES = """
password passwd passphrase passcode pass pwd dbPass db_pass DB_PASS smtpPass smtp-pass userPwd
user_pwd DBPASSWORD dbpass basicAuth basic_auth auth pin pinCode pin-code otp otpCode one_time_otp
cvv cvc dsn DSN sentry_dsn jwt JWT id_jwt secret clientSecret client_secret SECRET_KEY token
access_token refreshToken X-Auth-Token apiToken apiKey api_key API-KEY apikey x-api-key private_key
private.key privateKey accessKey AWS_SECRET_ACCESS_KEY encryptionKey encryption_key signing_key
signingKey masterKey sessionId session_id cookie Set-Cookie authorization Proxy-Authorization
authorisation credentials credential signature sig bearer user_password_2
"""

# Each makes a text or a JSON value in which the secret stands under a name.
PLACES: dict[str, Callable[[str], Any]] = {
    "a key": lambda name: {name: SECRET},
    "a key, deep": lambda name: {"a": [{"b": {name: SECRET}}]},
    "a key of a list": lambda name: {name: [SECRET]},
    "a key of an object": lambda name: {name: {"x": SECRET}},
    "a pair": lambda name: [[name, SECRET]],
    "a named value": lambda name: {"name": name, "value": SECRET},
    "a header's key and value": lambda name: [{"key": name, "val": SECRET}],
    "an environment in a list": lambda name: [f"{name}={SECRET}"],
    "an option and its argument": lambda name: ["run", f"--{name}", SECRET],
    "an option with a sign": lambda name: ["run", f"--{name}={SECRET}"],
    "JSON in a string": lambda name: json.dumps({"a": 1, name: SECRET}),
    "JSON in JSON in a string": lambda name: json.dumps({"body": json.dumps({name: SECRET})}),
    "JSON of a list in a string": lambda name: json.dumps({name: ["x", SECRET]}),
    "a Python dict in a text": lambda name: f"bad payload: { ({name: SECRET})!r}",
    "a Python dict of a list": lambda name: f"bad payload: { ({name: [SECRET]})!r}",
    "a Python dict of a dict": lambda name: f"bad payload: { ({name: {'x': {'y': 1}, 'z': SECRET}})!r}",
    "bytes in a text": lambda name: f"sent { ({name: SECRET.encode()})!r}",
    "a tuple in a text": lambda name: f"sent {[(name, SECRET)]!r}",
    "an assignment": lambda name: f"connect failed: {name}={SECRET} host=db",
    "an assignment with spaces": lambda name: f"line 3: {name} = '{SECRET}'",
    "a colon": lambda name: f"config has {name}: {SECRET}",
    "an arrow": lambda name: f"params: {name} => {SECRET}",
    "a call in a traceback": lambda name: f'  File "x.py", line 3\n    connect({name}="{SECRET}", host="db")',
    "a call without quotes": lambda name: f"connect(host=db, {name}={SECRET})",
    "a command": lambda name: f"ran psql --{name} {SECRET} --host db",
    "a query": lambda name: f"GET https://x.example/a?b=1&{name}={SECRET}&c=2 failed",
    "the first of a query": lambda name: f"https://x.example/a?{name}={SECRET}",
    "a form's field": lambda name: f"user[{name}]={SECRET}&x=1",
    "a query in a query": lambda name: f"/login?next={quote(f'/a?{name}={SECRET}', safe='')}",
    "a header": lambda name: f"{name}: {SECRET}\r\nHost: db",
    "a connection string": lambda name: f"Server=db;{name}={SECRET};Port=1",
    "a Python mapping's item": lambda name: f"KeyError in os.environ['{name}'] = '{SECRET}'",
}


@pytest.mark.parametrize("place", PLACES)
def test_a_secret_is_masked_in_each_place_under_each_name(place: str) -> None:
    values = [PLACES[place](name) for name in NAMES.split()]
    shown = [json.dumps(masked({"field": value}), ensure_ascii=False) for value in values]
    shown += [masked_text(value) for value in values if isinstance(value, str)]
    assert [text for text in shown if SECRET in text or MASK not in text] == []


@pytest.mark.parametrize(
    "text",
    [
        f"postgresql://me:{SECRET}@db.example/x",
        f"postgresql://me:a/b{SECRET}@db.example/x",
        f"postgresql://me:a@b{SECRET}@db.example/x",
        f"redis://:{SECRET}@db.example/0",
        f"https://{SECRET}@sentry.example/7",
        f"https://x.example/{quote(f'https://me:{SECRET}@db.example/', safe='')}",
        f"Authorization: Digest username=me, nonce=1, response={SECRET}",
        f'Authorization: Digest username="me", response="{SECRET}"',
        f"Authorization: Bearer {SECRET}",
        f"Cookie: theme=dark; other={SECRET}; x=1",
        f"Set-Cookie: other={SECRET}; Path=/; HttpOnly",
        f"sent Bearer {SECRET}{SECRET} and waited",
        f'curl -H "Authorization: Basic {SECRET}" https://x.example/',
        f"password: 'it\\'s {SECRET}'",
        f'"password": "unterminated {SECRET}',
    ],
)
def test_a_secret_is_masked_in_a_url_and_in_a_header(text: str) -> None:
    assert SECRET not in masked_text(text)
    assert SECRET not in json.dumps(masked([text]))


@pytest.mark.parametrize(
    "text",
    [
        "KeyError: 'nutriscore_data'",
        "the password is wrong",
        "a new passenger passes the compass",
        "basic ingredients: sugar, salt",
        "https://example.org/a:b@c",
        "https://example.org:8080/@me",
        "monkey=7 keyboard=1 spin=2 author=me",
        "10:30 to 11:00",
    ],
)
def test_a_text_without_a_secret_stays_as_it_is(text: str) -> None:
    assert masked_text(text) == text
    assert masked({"note": text}) == {"note": text}


@pytest.mark.parametrize(
    "value", [{"title": "Password reset", "text": "Hello"}, ["a token of thanks", "Bye"]]
)
def test_a_sentence_about_a_secret_is_no_name_of_one(value: object) -> None:
    assert masked(value) == value


def test_an_open_bracket_masks_no_more_than_its_line() -> None:
    shown = masked_text("  File x.py, line 3\n    tokens = [\n  File y.py, line 4\nValueError: boom")
    assert shown.endswith("\n  File y.py, line 4\nValueError: boom")


@pytest.mark.parametrize(
    "name", ["user_passed", "sql_author", "service_keywords", "server_keyboard", "my_authors"]
)
def test_names_that_only_begin_like_a_secret_are_left_alone(name: str) -> None:
    assert not secret(name)


@pytest.mark.parametrize(
    "name", ["key", "value", "user_id", "tokyo", "pinned", "passage", "opt", "signal", "path"]
)
def test_other_names_are_left_alone(name: str) -> None:
    assert not secret(name)


@pytest.mark.parametrize(
    "piece",
    [
        "password",
        "token=",
        "password='\\",
        "://a:",
        "://a@",
        "pin,'",
        "token=[",
        "password=)",
        "a.b-",
        "\\\\'",
    ],
)
def test_a_long_text_is_masked_in_linear_time(piece: str) -> None:
    # Each would take minutes if a search began again at each letter.
    masked_text(piece * 20_000)


@pytest.mark.parametrize(
    "key",
    ["barcode", "user_id", "compass", "spin", "passenger", "author", "opinion", "monkey", "keyboard", ""],
)
def test_names_that_hold_a_secret_word_by_chance_are_left_alone(key: str) -> None:
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
