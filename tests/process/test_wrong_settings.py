"""Every wrong setting, in every program that reads it: one sentence that names it and the mend, and exit code 2."""

import os
import re
import socket
from pathlib import Path

import pytest
from sqlalchemy import make_url

from spoils.cli import port as ports
from spoils.config import misspelt
from spoils.errors import SettingError
from tests.conftest import administration
from tests.fake_postgres import WRONG_PASSWORD, FakePostgres, greeting
from tests.process.trials import Trials
from tests.programs import free_port

pytestmark = pytest.mark.process

NOWHERE = "postgresql://spoils:s3cret@127.0.0.1:1/nowhere"
PROGRAMS = [
    ["spoils", "check"],
    ["spoils", "migrate"],
    ["spoils", "dev"],
    ["spoils", "web"],
    ["spoils", "psql"],
    ["spoils", "recount"],
    ["worker.py"],
    ["app.py"],
    ["gunicorn", "app:app"],
]
CONNECTING = [
    ["spoils", "migrate"],
    ["spoils", "recount"],
    ["worker.py"],
    ["app.py"],
    ["gunicorn", "app:app"],
]
OF_THE_WORKER = [["spoils", "check"], ["spoils", "worker"], ["spoils", "dev"], ["worker.py"]]

# Each other wrong value has its sentence in tests/test_config.py.
WRONG = [
    ("DATABASE_URL", "mysql://root:s3cret@localhost/x", "a URL that starts with postgresql:// or .* is needed"),
    ("PORT", "abc", "a whole number from 1 to 65535 is needed"),
    ("SPOILS_API_TOKEN", ",", "it contains only commas. List names, or unset it"),
    ("SPOILS_USERS", "anna:admin:s3cret", "entry 1 is not name:admin:hash or name:viewer:hash, with a hash of .*"),
    ("WORKER_THREADS", "cleanup:2", r"it needs the threads of the other task types too, as in fetch_product:2,\*:5"),
    ("SPOILS_JOBS", "nothere.jobs", "there is no module nothere.jobs. Name the modules or packages of your .*"),
]  # fmt: skip


def ends_with_2(trials: Trials, programs: list[list[str]], sentence: str, **environment: str) -> None:
    """Each of these programs prints what matches `sentence`, and ends with exit code 2."""
    for program in programs:
        code, output = trials.run(
            *program, **{"DATABASE_URL": NOWHERE, "PORT": str(free_port()), **environment}
        )
        # gunicorn says that it starts before it can be stopped.
        output = re.sub(r"^\S+ INFO Starting gunicorn .*\n", "", output)
        assert re.fullmatch(sentence, output), (program, output)
        assert code == 2, program
        assert "s3cret" not in output


@pytest.mark.parametrize(("name", "value", "wanted"), WRONG)
def test_a_wrong_setting_ends_every_program_with_a_sentence_that_names_it_and_the_mend(
    trials: Trials, name: str, value: str, wanted: str
) -> None:
    ends_with_2(trials, PROGRAMS, rf"{name} is wrong: {wanted}\.", **{name: value})


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("WEB_CONCURRENCY", "many", "a whole number from 1 to 64 is needed"),
        ("FORWARDED_ALLOW_IPS", "router", "router is not an address or a network such as 10.0.0.0/8; .*"),
    ],
)
def test_what_gunicorn_parses_itself_is_named_by_every_program_of_ours(
    trials: Trials, name: str, value: str, wanted: str
) -> None:
    ends_with_2(trials, PROGRAMS[:-1], rf"{name} is wrong: {wanted}\.", **{name: value})


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("WORKER_TASK_TYPES", "fetch", 'no job class has the task type "fetch". There are: .*fetch_product'),
        (
            "SPOILS_NOTIFY_URL_EMAIL",
            "nonsense://s3cret",
            "The nonsense:// notification URL is not understood",
        ),
        ("SPOILS_NOTIFY_URL_EMAIL", "s3cret", "The configured notification URL is not understood"),
        ("SPOILS_ALERT_URL", "s3cret", "The configured notification URL is not understood"),
    ],
)
def test_what_only_a_worker_can_judge_ends_it_and_check(
    trials: Trials, name: str, value: str, wanted: str
) -> None:
    ends_with_2(trials, OF_THE_WORKER, rf"{name} is wrong: {wanted}.*\.", **{name: value})


GOOD = {
    "DYNO": "web.1",
    "SPOILS_ADMIN_PASSWORD": "ruhig-Brot-91-Kiesel",
    "SECRET_KEY": "kP0zV6jNq3uYb8mWd5sHe1xL",
    "SPOILS_API_TOKEN": "fQ9mZ2vL7pXw4kRt8nBs",
}


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"DATABASE_URL": ""}, "DATABASE_URL is not set: attach a PostgreSQL database to the app."),
        ({"SPOILS_ADMIN_PASSWORD": "s3cret"}, "SPOILS_ADMIN_PASSWORD is too weak .* Generate one: .*"),
        ({"SPOILS_API_TOKEN": "s3cret"}, "SPOILS_API_TOKEN is too weak for a server on the internet: .*"),
        ({"SECRET_KEY": "1" * 40}, "SECRET_KEY is too weak for a server on the internet: .*"),
        ({"SPOILS_API_TOKEN": GOOD["SECRET_KEY"]}, "SECRET_KEY and SPOILS_API_TOKEN have the same value. Use .*"),
    ],
)  # fmt: skip
def test_on_heroku_a_missing_database_or_a_weak_secret_ends_every_program(
    trials: Trials, changed: dict[str, str], sentence: str
) -> None:
    ends_with_2(trials, PROGRAMS, sentence, **{**GOOD, **changed})


LISTENING = [["spoils", "dev"], ["spoils", "web"], ["app.py"], ["gunicorn", "app:app"]]


def test_a_port_that_another_program_listens_on_is_named_before_anything_is_started(trials: Trials) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        sentence = (
            f"PORT is wrong: another program listens on port {port}. "
            "Stop that program, or set PORT to another port."
        )
        ends_with_2(trials, LISTENING, sentence, PORT=port)


def test_a_port_of_a_connection_that_has_just_ended_is_free() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)):
            server.accept()[0].close()  # who closes first keeps the port for a while
    ports.check_port("127.0.0.1", port)


@pytest.mark.skipif(not hasattr(os, "fork") or os.geteuid() != 0, reason="only root can give up its rights")
def test_a_port_that_this_user_may_not_listen_on_is_named_with_those_it_may() -> None:
    pid = os.fork()
    if not pid:
        os.setuid(65534)
        try:
            ports.check_port("127.0.0.1", 80)
        except SettingError as exc:
            os._exit(2 if "may not listen on port 80. Set PORT to a port from 1024 on" in str(exc) else 1)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 2


def test_settings_that_are_misspelt_are_named_in_the_log_with_what_was_meant(trials: Trials) -> None:
    meant = {
        "SPOILS_API_TOKENS": "SPOILS_API_TOKEN",
        "SPOILS_ADMIN_PASWORD": "SPOILS_ADMIN_PASSWORD",
        "WORKER_THREAD": "WORKER_THREADS",
        "WEB_CONCURENCY": "WEB_CONCURRENCY",
        "DATABASE_URI": "DATABASE_URL",
    }
    others = {"SPOILS_NOTIFY_URL_SMS": "json://x", "SPOILS_OF_TOMORROW": "1", "PATH": "/bin"}
    assert misspelt({**meant, **others}) == meant
    code, output = trials.run("spoils", "check", DATABASE_URL=NOWHERE, SPOILS_API_TOKENS="s3cret")
    assert code == 0  # it may be a setting of a later release
    assert "SPOILS_API_TOKENS is not a setting. Did you mean SPOILS_API_TOKEN?" in output
    assert "s3cret" not in output


def test_a_database_that_does_not_exist_or_a_role_or_a_password_that_is_refused(
    trials: Trials, postgres_url: str
) -> None:
    database = make_url(postgres_url).set(database="nowhere").render_as_string(hide_password=False)
    role = make_url(postgres_url).set(username="nobody_here", password="s3cret")
    ends_with_2(
        trials,
        CONNECTING,
        'DATABASE_URL is wrong: .*database "nowhere" does not exist.*',
        DATABASE_URL=database,
    )
    ends_with_2(
        trials,
        CONNECTING,
        'DATABASE_URL is wrong: .*password authentication failed for user "nobody_here".*',
        DATABASE_URL=role.render_as_string(hide_password=False),
    )
    with FakePostgres(lambda _: WRONG_PASSWORD) as server:  # in whatever language it is refused
        refused = "DATABASE_URL is wrong: .*FATAL: Passwort-Authentifizierung .* fehlgeschlagen"
        ends_with_2(trials, CONNECTING, refused, DATABASE_URL=server.url)


def test_a_server_that_is_too_old(trials: Trials) -> None:
    sentence = "The server is PostgreSQL 13. Spoils needs 14 or newer."
    with FakePostgres(lambda _: greeting(server_version="13.14", server_encoding="UTF8")) as server:
        ends_with_2(trials, CONNECTING, sentence, DATABASE_URL=server.url)


def test_a_database_that_was_never_migrated(trials: Trials, empty_database_url: str) -> None:
    behind = "The database's schema is older than this release. Run: python -m spoils migrate"
    adopt = ["spoils", "adopt", "--no-rust-workers"]
    ends_with_2(trials, [adopt, *CONNECTING[1:]], behind, DATABASE_URL=empty_database_url)


def test_a_server_that_takes_no_writes(trials: Trials, postgres_url: str, empty_database_url: str) -> None:
    with administration(postgres_url) as connection:
        name = make_url(empty_database_url).database
        connection.exec_driver_sql(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    sentence = "DATABASE_URL leads to a server that takes no writes: cannot execute .* Name the primary."
    ends_with_2(trials, [["spoils", "migrate"], ["spoils", "dev"]], sentence, DATABASE_URL=empty_database_url)


def test_a_database_that_does_not_answer_ends_what_does_not_wait_for_it(trials: Trials) -> None:
    away = r"The database of DATABASE_URL does not answer: .*port 1 failed: Connection refused.*"
    adopt = ["spoils", "adopt", "--no-rust-workers"]
    ends_with_2(trials, [["spoils", "migrate"], ["spoils", "recount"], adopt, ["spoils", "dev"]], away)
    unknown = 'The database of DATABASE_URL does not answer: could not translate host name "db.invalid" .*'
    url = "postgresql://spoils:s3cret@db.invalid/spoils"
    ends_with_2(trials, [["spoils", "migrate"]], unknown, DATABASE_URL=url)


def test_psql_that_is_not_there(trials: Trials, tmp_path: Path) -> None:
    absent = "psql is not on the PATH: install PostgreSQL's client programs."
    ends_with_2(trials, [["spoils", "psql"]], absent, PATH=str(tmp_path))
