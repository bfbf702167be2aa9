"""The settings: what stands when nothing is set, and that what is wrong is named and no secret is shown."""

import traceback

import pytest
from flask import Flask
from pydantic import ValidationError

from spoils.config import Settings, current_settings, environment_with
from spoils.errors import SettingError

SECRETS = {
    "DATABASE_URL": "postgres://spoils:hunter2-database@db.example/spoils",
    "SECRET_KEY": "hunter2-secret-key-of-enough-length",
    "SPOILS_ADMIN_PASSWORD": "hunter2-admin",
    "SPOILS_VIEWER_PASSWORD": "hunter2-viewer",
    "SPOILS_API_TOKEN": "hunter2-token-1,hunter2-token-2",
    "SPOILS_NOTIFY_URL_EMAIL": "mailto://someone:hunter2-mail@mail.example",
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
        "worker_task_types": None,
        "admin_password": None,
        "viewer_password": None,
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


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DATABASE_URL", "mysql://u:p@h/d"), ("DATABASE_URL", "postgres://"), ("DATABASE_URL", "spoils"),
        ("PORT", "65536"), ("PORT", "-1"), ("PORT", "http"), ("WEB_CONCURRENCY", "0"), ("LOG_LEVEL", "LOUD"),
        ("SECRET_KEY", "short"), ("OPENFOODFACTS_URL", "ftp://food.example"), ("WORKER_THREADS", "many"),
        ("WORKER_THREADS", "0"), ("WORKER_THREADS", "2.5"), ("WORKER_PROCESSES", "65"),
        ("SPOILS_SHUTDOWN_SECONDS", "-1"),
        ("SPOILS_SHUTDOWN_SECONDS", "nan"), ("SPOILS_RETENTION_DAYS", "0"), ("SPOILS_RETENTION_DAYS", "inf"),
        ("SPOILS_FAILED_RETENTION_DAYS", "forever"), ("SPOILS_CRON_TIMEZONE", "Mars/Olympus"),
        ("SPOILS_DB_CONNECTIONS", "2"), ("SPOILS_SHARED_WITH_FANG", "perhaps"), ("SPOILS_FOREIGN_CLAIM_TIMEOUT", "0"),
        ("SPOILS_FOREIGN_CLAIM_TIMEOUT", "inf"), ("SPOILS_ANALYZE_SECONDS", "1e9"), ("SPOILS_NOTIFY_SECONDS", "soon"),
    ],
)  # fmt: skip
def test_a_wrong_setting_is_named(name: str, value: str) -> None:
    with pytest.raises(SettingError) as caught:
        Settings.from_env({name: value})
    assert str(caught.value).startswith(f"{name} is wrong: ")
    assert str(caught.value).endswith(".")


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


def test_settings_do_not_change() -> None:
    with pytest.raises(ValidationError):
        Settings.from_env({}).port = 1  # type: ignore[misc]


def test_the_settings_of_the_active_application_are_current() -> None:
    app = Flask("test")
    app.config["SPOILS"] = settings = Settings.from_env({})
    with app.app_context():
        assert current_settings() is settings


def test_a_child_gets_this_environment_with_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPOILS_KEPT", "a")
    monkeypatch.setenv("SPOILS_CHANGED", "b")
    child = environment_with(SPOILS_CHANGED="c")
    assert (child["SPOILS_KEPT"], child["SPOILS_CHANGED"]) == ("a", "c")


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


@pytest.mark.parametrize(
    "setting",
    [
        {"FORWARDED_ALLOW_IPS": "router"},
        {"FORWARDED_ALLOW_IPS": "10.0.0.1/8"},
        {"SPOILS_HOSTS": "https://spoils.example"},
        {"SPOILS_HOSTS": "spoils.example:443"},
        {"SPOILS_HOSTS": "*"},
    ],
)
def test_a_wrong_proxy_or_host_is_named(setting: dict[str, str]) -> None:
    with pytest.raises(SettingError, match=next(iter(setting))):
        Settings.from_env(setting)


def test_alerts_are_off_until_a_url_is_set_and_it_is_in_no_repr() -> None:
    assert Settings.from_env({}).alert_url is None
    settings = Settings.from_env(
        {"SPOILS_ALERT_URL": "mailto://user:hunter2@mail.example", "SPOILS_ALERT_WAIT_SECONDS": "60"}
    )
    assert settings.alert_wait_seconds == 60
    assert "hunter2" not in repr(settings)
    with pytest.raises(SettingError, match="SPOILS_ALERT_WAIT_SECONDS is wrong"):
        Settings.from_env({"SPOILS_ALERT_WAIT_SECONDS": "0"})
