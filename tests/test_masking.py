"""No secret is shown, whatever its name is and wherever it stands."""

import contextlib
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
pword passwrd pswd passwort kennwort contrasena mot_de_passe motDePasse senha mdp passkey bindpw LDAP_BIND_PW pass_word
oauth oauthVerifier csrf XSRF-TOKEN PHPSESSID JSESSIONID connect.sid sid recovery_code backupCodes verification_code
security_code auth_code sms_code seed_phrase mnemonic securityAnswer private_pem priv_key tls_key session_key aes_key
APP_KEY client_key Ocp-Apim-Subscription-Key STRIPE_KEY openai_key google_maps_key deploy_key SAMLResponse assertion
code_verifier connectionString conn_str hmac jwk AccountKey PGPASSWORD
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


JWT = f"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.{SECRET}"
PEM = f"-----BEGIN RSA PRIVATE KEY-----\nMIIEow{SECRET}\nabc\n-----END RSA PRIVATE KEY-----"
FORM = f'--x\r\nContent-Disposition: form-data; name="password"\r\n\r\n{SECRET}\r\n--x--'
NAMED = {"name": "DB_PASSWORD", "type": "env", "value": SECRET}
REVERSED = {"value": SECRET, "name": "DB_PASSWORD"}
LETTERS = "abcdefGHIJ0123456789"
# Put together here, so that no scanner of this repository takes one for a token that works.
TOKENS = (
    *("gh" + f"p_{LETTERS}{LETTERS}", "github" + f"_pat_{LETTERS}{LETTERS}", "sk_" + f"live_{LETTERS}"),
    "wh" + f"sec_{LETTERS}",
    *("xo" + f"xb-12-{LETTERS}", "AK" + "IAIOSFODNN7EXAMPLE", "AI" + f"za{LETTERS}{LETTERS}", "gl" + f"pat-{LETTERS}"),
    *("np" + f"m_{LETTERS}{LETTERS}", "sk-" + f"proj-{LETTERS}", "SG" + f".{LETTERS}.{LETTERS}", "hf" + f"_{LETTERS}"),
    *("123456789:" + f"AAE{LETTERS}{LETTERS}", "dop" + f"_v1_{LETTERS}{LETTERS}"),
)  # fmt: skip
TEXTS = (
    f"got {JWT} back",
    PEM,
    PEM.replace("\n", "\\n"),
    PEM[:-30],
    json.dumps({"file": PEM}),
    f"jdbc:postgresql://h/x?user=u&password={SECRET}",
    f"jdbc:oracle:thin:scott/{SECRET}@h:1521:x",
    f"mongodb+srv://me:{SECRET}@c.example/x",
    f"amqp://me:{SECRET}@h/%2f",
    f"smtp://me:{SECRET}@h:25",
    f"https://hooks.slack.com/services/T0/B0/{SECRET}",
    f"https://discord.com/api/webhooks/1/{SECRET}",
    f"tgram://{SECRET}/12345",
    f'could not translate host name "{SECRET}@db" to address',
    f"curl -u me:{SECRET} h",
    f"curl --user 'me:{SECRET}' h",
    f"curl -b 'sid={SECRET}' h",
    f"['curl', '-u', 'me:{SECRET}']",
    f"mysql -uroot -p{SECRET} x",
    f"sshpass -p {SECRET} ssh h",
    f"wget --http-password={SECRET} h",
    f"login with password {SECRET} refused",
    f"the token {SECRET} is unknown",
    f"your password is {SECRET}.",
    f"machine h login me password {SECRET}",
    f"ENV API_TOKEN {SECRET}",
    f"password\t\t\t{SECRET}",
    f"ALTER ROLE me WITH PASSWORD '{SECRET}'",
    f"CREATE USER me IDENTIFIED BY '{SECRET}'",
    f'Digest username="me", realm="x", response="{SECRET}"',
    f"Authorization: AWS4 Credential=x, Signature={SECRET}",
    FORM,
    repr(FORM),
    FORM.replace("\r\n\r\n", "\r\nContent-Type: text/plain\r\n\r\n"),
    f"passphrase: correct {SECRET} staple",
    f"password: |\n  {SECRET}\n  x\nport: 1",
    f"password:\n  {SECRET}\nport: 1",
    f"passwords:\n  - {SECRET}\n  - x{SECRET}\n",
    f'password = """{SECRET}\nx{SECRET}"""',
    f"password = '''\n{SECRET}\n'''",
    f"<password>{SECRET}</password>",
    f'<wsse:Password Type="x">{SECRET}</wsse:Password>',
    f"&lt;pin&gt;{SECRET}&lt;/pin&gt;",
    f'<add key="password" value="{SECRET}"/>',
    f'<add value="{SECRET}" key="password"/>',
    f'<a key="pin">{SECRET}</a>',
    quote(f'{{"password": "{SECRET}"}}'),
    quote(quote(f'{{"pin":"{SECRET}"}}')),
    f"{{&quot;pin&quot;: &quot;{SECRET}&quot;}}",
    json.dumps(NAMED),
    json.dumps(REVERSED),
    f"bad: {json.dumps([NAMED])}",
    f"bad: {[NAMED]!r}",
    f"bad: {[REVERSED]!r}",
    json.dumps([["pin", SECRET]]),
    f"sent {[(b'authorization', SECRET.encode())]!r}",
    f'{{"p\\u0061ssword": "{SECRET}"}}',
    f"1 validation error for Login\npassword\n  String too long [type=x, input_value='{SECRET}', input_type=str]",
    json.dumps([{"loc": ["body", "password"], "input": SECRET}]),
    f"DETAIL:  Failing row contains (1, {SECRET}).",
    f"DETAIL:  Key (token, mail)=({SECRET}, a) already exists.",
    f"    password     = '{SECRET}'",
    f"map[password:{SECRET} user:me]",
    f"password -> {SECRET}",
    f"password->{SECRET}",
    f"password：{SECRET}",
    f"send: b'POST /\\r\\npin: {SECRET}\\r\\n'",
    f"API key: {SECRET}",
    f"pass phrase: {SECRET}",
    json.dumps({"op": "replace", "path": "/user/password", "value": SECRET}),
    json.dumps({"field": "password", "old": SECRET, "new": "x"}),
    json.dumps({"$.password": SECRET}),
)


# Forms that stand under no name, or whose value does not end at the first sign.
MORE_TEXTS = (
    f"could not reach me:{SECRET}@db.example:5432 in 5 s",
    f"password=hun;{SECRET}",
    f"Server=db;password=hun;{SECRET};Port=1",
    f"mysqladmin -uroot -p{SECRET} ping",
    f"['mysql', '-uroot', '-p{SECRET}', 'db']",
    f"mycli -p{SECRET} db",
    f"mongo --host db -u me -p {SECRET} admin",
    f"docker login -u me -p {SECRET} registry.example",
    f"redis-cli -h db -a {SECRET} ping",
    f"gotify://push.example/{SECRET}",
    f"ntfys://push.example/{SECRET}",
    f"passphrase: not correct {SECRET} staple",
)


@pytest.mark.parametrize("token", TOKENS)
def test_a_token_of_a_known_service_is_masked_under_any_name(token: str) -> None:
    assert masked_text(f"sent {token} away") == f"sent {MASK} away"
    assert token not in json.dumps(masked({"note": [token, f"/x/{token}/send"]}))


@pytest.mark.parametrize("text", TEXTS + MORE_TEXTS)
def test_a_secret_is_masked_in_each_form_that_texts_have(text: str) -> None:
    assert SECRET not in masked_text(text)
    assert SECRET not in masked_text(f"Traceback\n  File x.py, line 3\nValueError: refused: {text}\n")
    assert SECRET not in json.dumps(masked({"field": text}))
    with contextlib.suppress(ValueError):
        assert SECRET not in json.dumps(masked(json.loads(text)))


@pytest.mark.parametrize(
    "table",
    [
        f"user,password\nme,{SECRET}\nyou,{SECRET}\n",
        f"id;name;api_key\r\n1;me;{SECRET}\r\n",
        f" login | password  \n-------+-----------\n me    | {SECRET}\n(1 row)",
        f"user\ttoken\nme\t{SECRET}",
    ],
)
def test_the_column_of_a_table_whose_header_names_a_secret_is_masked(table: str) -> None:
    shown = masked_text(f"It sent:\n{table}\nmore")
    assert SECRET not in shown
    assert "me" in shown
    assert shown.endswith("more")


# The names hold letters of Cyrillic, Greek, full width and mathematics, one that is not seen, and diacritics.
@pytest.mark.parametrize(
    "name",
    [
        "p\u0430ssword",
        "t\u03bfken",
        "\uff50\uff49\uff4e",
        "\U0001d429in",
        "pass\u200bword",
        "p\xe4ssword",
        "contraseña",
    ],
)
def test_a_name_that_only_looks_like_one_counts(name: str) -> None:
    texts = [
        f"x {name}={SECRET}",
        f"x {name}: {SECRET}",
        f"{{'{name}': '{SECRET}'}}",
        json.dumps({name: SECRET}),
    ]
    shown = json.dumps([masked({name: SECRET, "n": [[name, SECRET]]}), [masked_text(text) for text in texts]])
    assert SECRET not in shown


def test_a_secret_is_masked_however_often_json_is_encoded() -> None:
    text = json.dumps({"password": SECRET})
    for _ in range(8):
        text = json.dumps({"body": text})
        assert SECRET not in masked_text(text)
        assert SECRET not in masked_text(f"bad body {text}")


@pytest.mark.parametrize(
    "value",
    [
        {"tokens_used": 5, "max_tokens": 9, "token_type": "bearer", "tokenizer": "bpe"},
        {"password_changed_at": "2026-11-24", "pass_rate": 0.5, "secretary": "Jo", "cookie_consent": True},
        {
            "passport_country": "DE",
            "country_code": "DE",
            "barcode": "737628064502",
            "code": "737628064502",
            "salt": 1.2,
        },
        {
            "product_name": "Cookies: double chocolate",
            "error_code": 5,
            "primary_key": 1,
            "cache_key": "x",
            "key": "x",
        },
        {"type": "RefreshTokenJob", "text": "Hello", "id": 5},
        "Unexpected token 'abc' at 5",
        "the token is base64 encoded",
        "Authorization failed for user 7",
        "KeyError: 'token'",
        "status code is 50012",
        "PIN code is wrong",
        "Key (id)=(5) already exists.",
        "mailto:me@example.org",
        "token: expired",
        "password: not set, token: is missing",
        "password: Field required",
        "Basic Authentication required",
        "date -u 12:30",
        "docker run -u 1000:1000 x",
        "cookies: 5 %",
        "cookies: 200 g of flour, 5 eggs",
        "user, name\nme, you",
        "the password, the token\nwere, both changed",
        "a<b and c>d",
        "WHERE user_id = 5 AND token IS NULL",
        "sha256:abcdef0123456789abcdef",
        "Digest of 5 mails",
        "docker run x:3.11",
        "KeyError: 'nutriscore_data'",
        "the password is wrong",
        "a new passenger passes the compass",
        "basic ingredients: sugar, salt",
        "https://example.org/a:b@c",
        "https://example.org:8080/@me",
        "monkey=7 keyboard=1 spin=2 author=me",
        "10:30 to 11:00",
        {"title": "Password reset", "text": "Hello"},
        ["a token of thanks", "Bye"],
        ["ssh", "-p", "22"],
        ["docker", "run", "-p", "80:80"],
        ["mysql", "-P", "3306", "-p", "db"],
        *(None, True, 0, 1.5, "text", [], {}),
    ],
)
def test_what_only_sounds_like_a_secret_is_shown(value: object) -> None:
    assert masked(value) == value
    assert not isinstance(value, str) or masked_text(value) == value


def test_of_json_in_a_text_everything_else_stays() -> None:
    shown = masked_text(json.dumps({"api_key": "x", "user": {"id": 7, "name": "é"}}))
    assert json.loads(shown) == {"api_key": MASK, "user": {"id": 7, "name": "é"}}


def test_an_open_bracket_masks_no_more_than_its_line() -> None:
    shown = masked_text("  File x.py, line 3\n    tokens = [\n  File y.py, line 4\nValueError: boom")
    assert shown.endswith("\n  File y.py, line 4\nValueError: boom")


OTHER_NAMES = """
user_passed sql_author service_keywords server_keyboard my_authors
key value user_id tokyo pinned passage opt signal path
barcode compass spin passenger author opinion monkey keyboard
"""


@pytest.mark.parametrize("name", [*OTHER_NAMES.split(), ""])
def test_names_that_hold_a_secret_word_by_chance_are_left_alone(name: str) -> None:
    assert not secret(name)


@pytest.mark.parametrize(
    "piece",
    [
        *("w", "://", ":"),
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
        *(
            "token=[\n",
            "\\",
            'token=\\"',
            '"name":"pin"',
            "'value':",
            "<a b='",
            "<pin>",
            'form-data; name="pin"\r\n',
        ),
        *(
            "-----BEGIN PRIVATE KEY-----",
            "mysql -p",
            "Failing row contains (",
            "pin\n  x input_value=",
            "Digest ",
            "eyJa.",
        ),
        *(
            "password:\n- a\n",
            "password is ",
            "%22pin%22%3A",
            "&quot;pin&quot;:",
            '{"a":',
            '["',
            "pа",
            "\u200b",
            "12345678:AA",
        ),
        *(
            "mysql-",
            "cookie: ",
            'cookies: "',
            'form-data; name="pin" \\n',
            '"name": "pin", "value": [',
            '"value": {"name": "pin", ',
            "--token [\n",
            "--token [",
            "pin,b\n",
            "a,b\n",
            "x;",
            "password=;",
            "a:b@",
            "me:pw@h:",
            "redis-cli -a ",
            "mongo -p",
            "docker login -p",
            "curl -ua",
            "token: not ",
            "Basic aA",
        ),
    ],
)
def test_a_long_text_is_masked_in_linear_time(piece: str) -> None:
    # Each would take minutes if a search began again at each letter.
    masked_text((piece * 20_000)[:100_000])


@pytest.mark.parametrize("brackets", [2, 4, 8, 40])
@pytest.mark.parametrize("before", ["", "x "])
def test_json_in_strings_of_json_is_searched_once(brackets: int, before: str) -> None:
    text = "word"
    for _ in range(13):
        text = before + "[" * brackets + json.dumps(text) + "]" * brackets
    masked_text(text)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("mysqldump-8.0 --opt -phunter2 db", f"mysqldump-8.0 --opt -p{MASK} db"),
        ("mysql -h x -P 3306 -u root -phunter2", f"mysql -h x -P 3306 -u root -p{MASK}"),
        ("{'cookie': b'a=1', 'x': 2}", f"{{'cookie': {MASK}, 'x': 2}}"),
        ("cookies: sugar, cookie: milk", "cookies: sugar, cookie: milk"),
        ("cookies: sugar\ncookie: a=1\nb", f"cookies: sugar\ncookie: {MASK}\nb"),
        ('cookies: sugar, cookie: "abc"', f"cookies: sugar, cookie: {MASK}"),
    ],
)
def test_what_is_searched_once_is_found(text: str, shown: str) -> None:
    assert masked_text(text) == shown


@pytest.mark.parametrize(
    "arguments",
    [
        ["mysql", f"-p{SECRET}"],
        ["/usr/bin/mysqldump", "-u", "root", f"-p{SECRET}", "db", 3306],
        ["curl", "-u", f"me:{SECRET}", "https://x.example"],
        ["curl", f"-ume:{SECRET}", "https://x.example"],
        ["backup", "--token", SECRET, "all"],
        ["backup", f"--password={SECRET}", "all"],
        ["docker", "login", "-u", "me", "-p", SECRET, "registry.example"],
        ["redis-cli", "-a", SECRET, "ping"],
        ["curl", "-H", f"Authorization: Bearer {SECRET}", "https://x.example"],
    ],
)
def test_only_the_secret_of_a_command_is_masked_in_a_list_and_in_a_text_of_that_list(
    arguments: list[Any],
) -> None:
    place = next(at for at, argument in enumerate(arguments) if SECRET in str(argument))
    shown = masked({"command": arguments})["command"]
    assert shown[place].endswith(MASK)
    assert SECRET not in shown[place]
    assert shown[:place] + shown[place + 1 :] == arguments[:place] + arguments[place + 1 :]
    for command in (arguments[0], arguments[:1]):
        assert masked({"command": command, "args": arguments[1:]})["args"] == shown[1:]
    assert SECRET not in masked_text(f"failed: {arguments!r}")
    assert SECRET not in masked_text(json.dumps(arguments))


def test_an_option_with_a_blank_in_its_secret_is_masked_whole() -> None:
    assert masked(["backup", "--password=two words"]) == ["backup", f"--password={MASK}"]


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


def test_a_payload_of_many_levels_ends_in_an_ellipsis() -> None:
    deep: object = "end"
    for _ in range(500):
        deep = [deep]
    assert "…" in str(masked(deep))
    assert "end" not in str(masked(deep))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("connect failed: password=hunter2 host=db", "connect failed: password=M host=db"),
        ("DB_PASSWORD: hunter2", "DB_PASSWORD: M"),
        ('{"api_key": "hunter2 x", "user": 7}', '{"api_key": "M", "user": 7}'),
        ('sent {"api_key": "hunter2 x", "user": 7}', 'sent {"api_key": M, "user": 7}'),
        ("self.secret_token = 'hunter2'", "self.secret_token = M"),
        ("GET /x?token=hunter2&page=3 failed", "GET /x?token=M&page=3 failed"),
        ("Authorization: Bearer hunter2", "Authorization: M"),
        ("{'Authorization': 'Basic aHVudGVyMg=='}", "{'Authorization': M}"),
        ("sent Bearer hunter2hunter2 and waited", "sent Bearer M and waited"),
        ("postgres://app:hunter2@db/x refused", "postgres://M@db/x refused"),
        ("GET /x/https%3A%2F%2Fme%3Ahunter2%40db.example%2F", "GET /x/https%3A%2F%2FM%40db.example%2F"),
    ],
)
def test_what_a_text_calls_a_secret_is_masked(text: str, shown: str) -> None:
    assert masked_text(text) == shown.replace("M", MASK)


@given(st.text(max_size=200))
def test_any_text_can_be_masked(text: str) -> None:
    masked_text(text)
