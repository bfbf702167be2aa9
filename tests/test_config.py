"""The settings: what stands when nothing is set, and that what is wrong is named and no secret is shown."""

import re
import traceback

import pytest

from spoils.config import Settings
from spoils.errors import SettingError

SECRETS = {
    "DATABASE_URL": "postgres://spoils:hunter2-database@db.example/spoils",
    "SECRET_KEY": "hunter2-secret-key-of-enough-length",
    "SPOILS_ADMIN_PASSWORD": "hunter2-admin",
    "SPOILS_VIEWER_PASSWORD": "hunter2-viewer",
    "SPOILS_USERS": f"anna:admin:scrypt:32768:8:1$hunter2salt${'0' * 128}",
    "SPOILS_API_TOKEN": "hunter2-token-1,hunter2-token-2",
    "SPOILS_NOTIFY_URL_EMAIL": "mailto://someone:hunter2-mail@mail.example",
    "SPOILS_ALERT_URL": "mailto://someone:hunter2-alert@mail.example",
    "OPENFOODFACTS_URL": "https://someone:hunter2-food@food.example",
}


def test_what_stands_when_nothing_is_set() -> None:
    settings = Settings.from_env({})
    assert settings.model_dump() == {
        "database_url": None,
        "port": 8000,
        "web_concurrency": 2,
        "log_level": "INFO",
        "secret_key": None,
        "jobs": ("spoils.jobs",),
        "openfoodfacts_url": "https://world.openfoodfacts.org",
        "worker_threads": {"*": 5},
        "worker_async_jobs": 100,
        "worker_processes": 1,
        "worker_jobs_max": None,
        "worker_mb_max": None,
        "probe_port": None,
        "worker_task_types": None,
        "admin_password": None,
        "viewer_password": None,
        "users": (),
        "api_tokens": (),
        "open_queue_depth": 10_000,
        "trusted_proxies": None,
        "hosts": (),
        "shutdown_seconds": 25.0,
        "retention_days": 7.0,
        "failed_retention_days": 30.0,
        "cron_timezone": "UTC",
        "db_connections": None,
        "shared_with_fang": False,
        "foreign_claim_timeout": None,
        "analyze_seconds": 2.0,
        "notify_seconds": 0.5,
        "notify_urls": {},
        "alert_url": None,
        "dashboard_url": None,
        "alert_wait_seconds": 900.0,
        "dyno": None,
        "release": "dev",
        "development": False,
    }
    assert (settings.web_connections, settings.worker_connections) == (3, 6)


def test_an_empty_variable_is_an_unset_one() -> None:
    names = [field.alias for field in Settings.model_fields.values() if field.alias]
    assert len(names) > 15
    assert Settings.from_env({**dict.fromkeys(names, ""), "SPOILS_NOTIFY_URL_SMS": " "}) == Settings.from_env(
        {}
    )
    assert Settings.from_env(dict.fromkeys(names, " \t")) == Settings.from_env({})


def test_every_setting_is_read_from_its_variable() -> None:
    settings = Settings.from_env(
        {
            "PORT": "80",
            "LOG_LEVEL": "DEBUG",
            "WORKER_THREADS": "20",
            "WORKER_TASK_TYPES": " fetch_product, ,common ",
            "SPOILS_SHARED_WITH_FANG": "1",
            "SPOILS_RETENTION_DAYS": "0.5",
            "SPOILS_CRON_TIMEZONE": "Europe/Berlin",
            "SPOILS_DB_CONNECTIONS": "10",
            "OPENFOODFACTS_URL": "http://127.0.0.1:9/",
        },
        development=True,
    )
    assert (settings.port, settings.log_level, settings.worker_threads) == (80, "DEBUG", {"*": 20})
    assert settings.worker_task_types == ("fetch_product", "common")
    assert settings.shared_with_fang is True
    assert settings.retention_days == 0.5
    assert settings.cron_timezone == "Europe/Berlin"
    assert (settings.web_connections, settings.worker_connections) == (10, 10)
    assert settings.openfoodfacts_url == "http://127.0.0.1:9"
    assert settings.development is True


@pytest.mark.parametrize(
    ("given", "threads"),
    [
        ("7", {"*": 7}),
        ("*:7", {"*": 7}),
        (" fetch_product:2 , *:5", {"fetch_product": 2, "*": 5}),
        ("common:1,*:199", {"common": 1, "*": 199}),
    ],
)
def test_threads_may_be_given_by_task_type(given: str, threads: dict[str, int]) -> None:
    assert Settings.from_env({"WORKER_THREADS": given}).worker_threads == threads


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg2"])
def test_each_spelling_of_a_postgres_url_is_one(scheme: str) -> None:
    assert Settings.from_env({"DATABASE_URL": f"{scheme}://u:p@h/d"}).database_url == "postgresql://u:p@h/d"


def test_the_urls_of_notifications_go_by_their_kind() -> None:
    settings = Settings.from_env(
        {"SPOILS_NOTIFY_URL_EMAIL": "mailto://x", "SPOILS_NOTIFY_URL_PUSH_2": "ntfy://y"}
    )
    assert settings.notify_urls == {"email": "mailto://x", "push_2": "ntfy://y"}


NOWHERE = "postgresql://spoils:s3cret@127.0.0.1:1/nowhere"
FORM = "its form is postgresql://user:password@host:5432/database with one host and a number as the port. In the .*"
SEVERAL = "it names several hosts. Give one name that always leads to the primary"
SCHEME = "a URL that starts with postgresql:// or postgres:// is needed"
HOST = r"is not a host name. Write one such as spoils\.example, or \.example for every name below it"
COMMAS = "it contains only commas. List names, or unset it"
HASH = f"scrypt:32768:8:1$s3cretsalt${'0' * 128}"
ENTRY = "entry {} is not name:admin:hash or name:viewer:hash, with a hash of `spoils hash-password`"
WRONG = [
    ("DATABASE_URL", "mysql://root:s3cret@localhost/x", SCHEME),
    ("DATABASE_URL", "spoils", SCHEME),
    ("DATABASE_URL", "localhost:5432/spoils", SCHEME),
    ("DATABASE_URL", "postgres://", SCHEME),
    ("DATABASE_URL", '"postgresql://root:s3cret@localhost/x"', SCHEME),
    ("DATABASE_URL", "postgresql:/root:s3cret@localhost/x", SCHEME),
    ("DATABASE_URL", "postgresql://root:s3cret@localhost:many/x", FORM),
    ("DATABASE_URL", "postgresql://root:s3cret@localhost:65536/x", 'invalid port number: "65536"'),
    ("DATABASE_URL", "postgresql://root:s3cret@localhost:0/x", FORM),
    ("DATABASE_URL", "postgresql://root:s3cret@[::1/x", FORM),
    ("DATABASE_URL", "postgresql://root:not@s3cret@localhost/x", FORM),
    ("DATABASE_URL", "postgresql://root:s3cret/x", FORM),
    ("DATABASE_URL", "postgresql://root:s3cret@one,other/x", SEVERAL),
    ("DATABASE_URL", "postgresql://root:s3cret@one:5432,other:5432/x", FORM),
    ("DATABASE_URL", "postgresql://root:s3cret@/x?host=one:5432&host=other:5432", SEVERAL),
    ("DATABASE_URL", "postgresql://root:s3cret@/x?host=one,other", SEVERAL),
    ("DATABASE_URL", f"{NOWHERE}?password_of=s3cret", 'invalid connection option "password_of"'),
    ("DATABASE_URL", f"{NOWHERE}?sslmode=perhaps", 'invalid sslmode value: "perhaps"'),
    ("DATABASE_URL", f"{NOWHERE}?sslmode=require&sslmode=disable", 'the option "sslmode" is given twice'),
    ("DATABASE_URL", f"{NOWHERE}?target_session_attrs=some", 'invalid target_session_attrs value: "some"'),
    ("DATABASE_URL", f"{NOWHERE}?port=70000", 'invalid port number: "70000"'),
    ("PORT", "abc", "a whole number from 1 to 65535 is needed"),
    ("PORT", "0", "a whole number from 1 to 65535 is needed"),
    ("PORT", "65536", "a whole number from 1 to 65535 is needed"),
    ("PORT", "80.5", "a whole number from 1 to 65535 is needed"),
    ("LOG_LEVEL", "LOUD", "one of DEBUG, INFO, WARNING, ERROR, CRITICAL is needed"),
    ("SECRET_KEY", "s3cret", "a text of at least 16 characters in UTF-8 is needed"),
    ("OPENFOODFACTS_URL", "ftp://user:s3cret@example.com", "a URL such as https://host.example is needed"),
    ("SPOILS_DASHBOARD_URL", "queue.example.com", "a URL such as https://host.example is needed"),
    ("OPENFOODFACTS_URL", "https://", "a URL such as https://host.example is needed"),
    ("OPENFOODFACTS_URL", "https://food.example:s3cret", "a URL such as https://host.example is needed"),
    ("WORKER_THREADS", "0", "a whole number from 1 to 200 is needed"),
    ("WORKER_THREADS", "201", "a whole number from 1 to 200 is needed"),
    ("WORKER_THREADS", "five", "a whole number from 1 to 200 is needed"),
    ("WORKER_THREADS", "2.5", "a whole number from 1 to 200 is needed"),
    ("WORKER_THREADS", "cleanup:0,*:5", '"cleanup:0" is not the threads of a task type. .*'),
    ("WORKER_THREADS", "cleanup:2,*:5,cleanup:3", "it has cleanup twice"),
    ("WORKER_THREADS", "cleanup:150,*:51", "at most 200 threads in all are possible"),
    ("WORKER_ASYNC_JOBS", "0", "a whole number from 1 to 1000 is needed"),
    ("WORKER_PROCESSES", "0", "a whole number from 1 to 64 is needed"),
    ("WORKER_TASK_TYPES", ",", COMMAS),
    ("SPOILS_API_TOKEN", "name:", "each token needs a secret, after its name and a colon if it has one"),
    ("SPOILS_API_TOKEN", ",", COMMAS),
    ("SPOILS_USERS", "anna:admin:s3cret", ENTRY.format(1)),
    ("SPOILS_USERS", f"anna:admin:{HASH} ben:owner:{HASH}", ENTRY.format(2)),
    ("SPOILS_USERS", f":admin:{HASH}", ENTRY.format(1)),
    ("SPOILS_USERS", f"anna:admin:{HASH}0", ENTRY.format(1)),
    ("SPOILS_USERS", f"anna:admin:{HASH.replace('32768', '1048576')}", ENTRY.format(1)),
    ("SPOILS_USERS", ",", ENTRY.format(1)),
    ("SPOILS_USERS", f"Admin:viewer:{HASH}", "entry 1 has a reserved name. Choose another than .*"),
    ("SPOILS_USERS", f"anna:admin:{HASH},anna:viewer:{HASH}", "it has anna twice"),
    ("SPOILS_OPEN_QUEUE_DEPTH", "-1", "a whole number from 0 to 2147483647 is needed"),
    ("SPOILS_SHUTDOWN_SECONDS", "-1", "a number from 0 to 3600 is needed"),
    ("SPOILS_SHUTDOWN_SECONDS", "25s", "a number from 0 to 3600 is needed"),
    ("SPOILS_RETENTION_DAYS", "nan", "a number above 0 and up to 36500 is needed"),
    ("SPOILS_RETENTION_DAYS", "0", "a number above 0 and up to 36500 is needed"),
    ("SPOILS_FAILED_RETENTION_DAYS", "inf", "a number above 0 and up to 36500 is needed"),
    ("SPOILS_CRON_TIMEZONE", "Mars/Olympus", '.here is no time zone "Mars/Olympus"; a name such as Europe/Berlin .*'),
    ("SPOILS_DB_CONNECTIONS", "1", "a whole number from 4 to 500 is needed"),
    ("SPOILS_SHARED_WITH_FANG", "perhaps", "0 or 1 is needed"),
    ("SPOILS_FOREIGN_CLAIM_TIMEOUT", "0", "a number above 0 and up to 31536000 is needed"),
    ("SPOILS_ANALYZE_SECONDS", "1e9", "a number from 0 to 3600 is needed"),
    ("SPOILS_NOTIFY_SECONDS", "soon", "a number from 0 to 3600 is needed"),
    ("SPOILS_ALERT_WAIT_SECONDS", "0", "a number above 0 and up to 31536000 is needed"),
    ("FORWARDED_ALLOW_IPS", ",", COMMAS),
    ("SPOILS_HOSTS", "https://spoils.example", f"https://spoils.example {HOST}"),
    ("SPOILS_HOSTS", "spoils.example:443", f"spoils.example:443 {HOST}"),
    ("SPOILS_HOSTS", "*", rf"\* {HOST}"),
    ("SPOILS_HOSTS", ",", COMMAS),
    ("SPOILS_JOBS", ",", COMMAS),
    ("SPOILS_JOBS", "shop/jobs.py", "shop/jobs.py is not an import path. Write one such as shop.jobs, .*"),
    ("WEB_CONCURRENCY", "many", "a whole number from 1 to 64 is needed"),
    ("WEB_CONCURRENCY", "0", "a whole number from 1 to 64 is needed"),
    ("WEB_CONCURRENCY", "2.5", "a whole number from 1 to 64 is needed"),
    ("FORWARDED_ALLOW_IPS", "10.0.0.1/8", "10.0.0.1/8 is not an address or a network such as 10.0.0.0/8; .*"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value", "wanted"), WRONG)
def test_a_wrong_setting_is_named_with_the_mend_and_shows_no_secret(
    name: str, value: str, wanted: str
) -> None:
    with pytest.raises(SettingError) as caught:
        Settings.from_env({name: value})
    assert re.fullmatch(rf"{name} is wrong: {wanted}\.", str(caught.value))
    assert "s3cret" not in str(caught.value)


def test_every_wrong_setting_is_named_at_once() -> None:
    with pytest.raises(SettingError) as caught:
        Settings.from_env({"PORT": "x", "WORKER_THREADS": "y", "LOG_LEVEL": "z"})
    assert all(f"{name} is wrong" in str(caught.value) for name in ("PORT", "WORKER_THREADS", "LOG_LEVEL"))


def test_the_settings_show_no_secret() -> None:
    settings = Settings.from_env(SECRETS)
    assert settings.database_url is not None
    for shown in (repr(settings), str(settings), f"{settings}"):
        assert "hunter2" not in shown
        assert "port=8000" in shown


@pytest.mark.parametrize("name", SECRETS)
def test_the_error_about_a_setting_shows_no_secret(name: str) -> None:
    wrong = {
        "DATABASE_URL": "mysql://spoils:hunter2@h/d",
        "SECRET_KEY": "hunter2",
        "OPENFOODFACTS_URL": "ftp://someone:hunter2@h",
    }
    with pytest.raises(SettingError) as caught:
        Settings.from_env({**SECRETS, name: wrong.get(name, SECRETS[name]), "PORT": "hunter2"})
    # Without the lines of this file, which hold the secret themselves.
    shown = "".join(traceback.format_exception(caught.value, limit=-1)) + repr(caught.value)
    assert "PORT is wrong" in shown
    assert "hunter2" not in shown


GOOD = {
    "DYNO": "web.1",
    "DATABASE_URL": "postgres://db.example/spoils",
    "SPOILS_ADMIN_PASSWORD": "ruhig-Brot-91-Kiesel",
    "SPOILS_VIEWER_PASSWORD": "lauter-Topf-17-Moos",
    "SECRET_KEY": "kP0zV6jNq3uYb8mWd5sHe1xL",
    "SPOILS_API_TOKEN": "shop:fQ9mZ2vL7pXw4kRt8nBs,0c1f6d2b9e8a4f7d6b5c3e2a1f0d9c8b",
}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SPOILS_ADMIN_PASSWORD", "short-Brot1"),
        ("SPOILS_ADMIN_PASSWORD", "changeme-now-please"),
        ("SPOILS_ADMIN_PASSWORD", "correct horse battery staple"),
        ("SPOILS_ADMIN_PASSWORD", "password-password"),
        ("SPOILS_VIEWER_PASSWORD", "aaaaaaaaaaaaaaaaaaaa"),
        ("SPOILS_VIEWER_PASSWORD", GOOD["SPOILS_ADMIN_PASSWORD"]),
        ("SECRET_KEY", "not much of a secret"),
        ("SECRET_KEY", "1" * 40),
        ("SPOILS_API_TOKEN", "t0ken"),
        ("SPOILS_API_TOKEN", "a-long-name-for-a-thing:t0ken"),
        ("SPOILS_API_TOKEN", "fQ9mZ2vL7pXw4kRt8nBs,scanner:s3cret-s3cret-s3cret"),
    ],
)
def test_a_weak_secret_or_a_sample_stops_the_start_on_heroku_and_is_not_shown(name: str, value: str) -> None:
    assert Settings.from_env(GOOD).dyno == "web.1"
    assert Settings.from_env({**GOOD, name: value, "DYNO": ""}).dyno is None
    with pytest.raises(SettingError, match=name) as caught:
        Settings.from_env({**GOOD, name: value})
    assert value not in str(caught.value)
