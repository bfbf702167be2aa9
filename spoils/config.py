"""The settings: the only place that reads the environment."""

import difflib
import os
import re
from collections.abc import Mapping
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any, Literal, get_args
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from flask import current_app
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator
from pydantic_core import PydanticCustomError

from spoils.database_url import connection_arguments
from spoils.errors import SettingError
from spoils.password_strength import weakness
from spoils.users import User, parse_users

PACKAGE = Path(__file__).resolve().parent
ROOT = PACKAGE.parent if (PACKAGE.parent / "worker.py").is_file() else Path.cwd()
"""The clone; where the package is installed, the folder in which a program was started."""
NOTIFY_PREFIX = "SPOILS_NOTIFY_URL_"
_OURS = ("SPOILS_", "WORKER_", "WEB_", "DATABASE_", "OPENFOODFACTS_")
LEAST_PASSWORD, LEAST_TOKEN = 12, 16  # characters, on a server on the internet

LogLevel = Annotated[Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"], BeforeValidator(str.upper)]
MOST_THREADS = 200
OTHERS = "*"
"""In WORKER_THREADS, the task types that have no threads of their own."""
Names = Annotated[tuple[str, ...], BeforeValidator(lambda text: _split(text))]
Threads = Annotated[Mapping[str, int], BeforeValidator(lambda given: _threads(given))]
"""How many threads each task type has of its own, and how many all others."""
Users = Annotated[tuple[User, ...], BeforeValidator(lambda given: _users(given))]


class Settings(BaseModel):
    """Every setting, validated. A field's alias is its name in the environment; an empty variable is an unset one."""

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    # What may hold a password is kept out of every repr.
    database_url: str | None = Field(
        None, alias="DATABASE_URL", description="postgres:// URLs work too.", repr=False
    )
    port: int = Field(8000, alias="PORT", ge=1, le=65535)
    web_concurrency: int = Field(2, alias="WEB_CONCURRENCY", ge=1, le=64)
    log_level: LogLevel = Field("INFO", alias="LOG_LEVEL")
    secret_key: str | None = Field(None, alias="SECRET_KEY", min_length=16, repr=False)

    jobs: Names = Field(("spoils.jobs",), alias="SPOILS_JOBS")
    openfoodfacts_url: str = Field("https://world.openfoodfacts.org", alias="OPENFOODFACTS_URL", repr=False)

    worker_threads: Threads = Field({OTHERS: 5}, alias="WORKER_THREADS")
    worker_async_jobs: int = Field(100, alias="WORKER_ASYNC_JOBS", ge=1, le=1000)
    worker_processes: int = Field(1, alias="WORKER_PROCESSES", ge=1, le=64)
    worker_jobs_max: int | None = Field(None, alias="WORKER_JOBS_MAX", ge=1, le=2**31 - 1)
    worker_mb_max: int | None = Field(None, alias="WORKER_MB_MAX", ge=64, le=1_000_000)
    probe_port: int | None = Field(None, alias="SPOILS_PROBE_PORT", ge=1, le=65535)
    worker_task_types: Names | None = Field(None, alias="WORKER_TASK_TYPES")

    admin_password: str | None = Field(None, alias="SPOILS_ADMIN_PASSWORD", repr=False)
    viewer_password: str | None = Field(None, alias="SPOILS_VIEWER_PASSWORD", repr=False)
    users: Users = Field((), alias="SPOILS_USERS", repr=False)
    api_tokens: Names = Field((), alias="SPOILS_API_TOKEN", repr=False)
    open_queue_depth: int = Field(10_000, alias="SPOILS_OPEN_QUEUE_DEPTH", ge=0, le=2**31 - 1)

    shutdown_seconds: float = Field(25.0, alias="SPOILS_SHUTDOWN_SECONDS", ge=0, le=3600)
    retention_days: float = Field(7.0, alias="SPOILS_RETENTION_DAYS", gt=0, le=36500)
    failed_retention_days: float = Field(30.0, alias="SPOILS_FAILED_RETENTION_DAYS", gt=0, le=36500)
    cron_timezone: str = Field("UTC", alias="SPOILS_CRON_TIMEZONE")
    db_connections: int | None = Field(None, alias="SPOILS_DB_CONNECTIONS", ge=4, le=500)
    shared_with_fang: bool = Field(False, alias="SPOILS_SHARED_WITH_FANG")
    foreign_claim_timeout: float | None = Field(
        None, alias="SPOILS_FOREIGN_CLAIM_TIMEOUT", gt=0, le=365 * 24 * 3600
    )
    analyze_seconds: float = Field(2.0, alias="SPOILS_ANALYZE_SECONDS", ge=0, le=3600)
    notify_seconds: float = Field(0.5, alias="SPOILS_NOTIFY_SECONDS", ge=0, le=3600)
    alert_url: str | None = Field(None, alias="SPOILS_ALERT_URL", repr=False)
    dashboard_url: str | None = Field(None, alias="SPOILS_DASHBOARD_URL", repr=False)
    alert_wait_seconds: float = Field(900.0, alias="SPOILS_ALERT_WAIT_SECONDS", gt=0, le=365 * 24 * 3600)
    notify_urls: dict[str, str] = Field(default_factory=dict, repr=False)

    trusted_proxies: Names | None = Field(None, alias="FORWARDED_ALLOW_IPS")
    hosts: Names = Field((), alias="SPOILS_HOSTS")

    dyno: str | None = Field(None, alias="DYNO")
    release: str = Field("dev", alias="HEROKU_RELEASE_VERSION")
    development: bool = False

    @classmethod
    def from_env(cls, env: Mapping[str, str] | None = None, *, development: bool = False) -> "Settings":
        """Read `env`, by default the process's own. Raises SettingError, which names each wrong setting."""
        given = {name: value for name, value in (os.environ if env is None else env).items() if value.strip()}
        urls = {
            name.removeprefix(NOTIFY_PREFIX).lower(): value
            for name, value in given.items()
            if name.startswith(NOTIFY_PREFIX)
        }
        try:
            settings = cls.model_validate({**given, "notify_urls": urls, "development": development})
        except ValidationError as exc:
            raise SettingError(" ".join(_sentence(error) for error in exc.errors())) from None
        if settings.dyno is not None and settings.database_url is None:
            raise SettingError("DATABASE_URL is not set: attach a PostgreSQL database to the app.")
        if settings.dyno is not None:
            settings._refuse_weak_secrets()
        return settings

    @classmethod
    def from_env_with(cls, given: Mapping[str, object]) -> "Settings":
        """Read the environment, and before it what is `given` by the same names; None is not given.

        Raises SettingError, for a misspelt name too.
        """
        own = {name: str(value) for name, value in given.items() if value is not None}
        for name, meant in misspelt(own).items():
            raise SettingError(f"{name} is no setting. Did you mean {meant}?")
        return cls.from_env({**os.environ, **own})

    @field_validator("database_url")
    @classmethod
    def _one_spelling(cls, url: str | None) -> str | None:
        if url is None:
            return None
        scheme, _, rest = url.partition("://")
        if scheme not in ("postgres", "postgresql", "postgresql+psycopg2") or not rest:
            raise _wrong("a URL that starts with postgresql:// or postgres:// is needed")
        try:
            connection_arguments(f"postgresql://{rest}")
        except ValueError as exc:
            raise _wrong(str(exc)) from None
        return f"postgresql://{rest}"

    @field_validator("openfoodfacts_url", "dashboard_url")
    @classmethod
    def _http(cls, url: str | None) -> str | None:
        if url is None:
            return None
        try:
            parts = urlsplit(url)
            whole = parts.scheme in ("https", "http") and parts.hostname and parts.port != 0
        except ValueError:
            whole = False
        if not whole:
            raise _wrong("a URL such as https://host.example is needed")
        return url.rstrip("/")

    @field_validator("jobs", "worker_task_types", "api_tokens", "trusted_proxies", "hosts")
    @classmethod
    def _not_only_commas(cls, given: tuple[str, ...] | None) -> tuple[str, ...] | None:
        # An empty list would mean none of them in one setting, and any in another.
        if given == ():
            raise _wrong("it contains only commas. List names, or unset it")
        return given

    @field_validator("api_tokens")
    @classmethod
    def _tokens(cls, given: tuple[str, ...]) -> tuple[str, ...]:
        if not all(secret_of(token) for token in given):
            raise _wrong("each token needs a secret, after its name and a colon if it has one")
        return given

    @field_validator("trusted_proxies")
    @classmethod
    def _networks(cls, given: tuple[str, ...] | None) -> tuple[str, ...] | None:
        for one in given or ():
            try:
                ip_network("0.0.0.0/0" if one == "*" else one)
            except ValueError as exc:
                raise _wrong(f"{one} is not an address or a network such as 10.0.0.0/8; * means any") from exc
        return given

    @field_validator("jobs")
    @classmethod
    def _modules(cls, given: tuple[str, ...]) -> tuple[str, ...]:
        for one in given:
            if not all(part.isidentifier() for part in one.split(".")):
                raise _wrong(
                    f"{one} is not an import path. Write one such as shop.jobs, or several separated by commas"
                )
        return given

    @field_validator("hosts")
    @classmethod
    def _names(cls, given: tuple[str, ...]) -> tuple[str, ...]:
        for one in given:
            if not re.fullmatch(r"\.?[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*|\[[0-9A-Fa-f:.]+\]", one):
                raise _wrong(
                    f"{one} is not a host name. Write one such as spoils.example, or .example for every name below it"
                )
        return tuple(one.lower() for one in given)

    @field_validator("cron_timezone")
    @classmethod
    def _zone(cls, zone: str) -> str:
        try:
            ZoneInfo(zone)
        except (ZoneInfoNotFoundError, ValueError, OSError) as exc:
            raise _wrong(f'There is no time zone "{zone}"; a name such as Europe/Berlin is needed') from exc
        return zone

    @property
    def proxies(self) -> tuple[str, ...]:
        """Addresses and networks of trusted proxies, which name the client's address and scheme; "*" is any."""
        if self.trusted_proxies is not None:
            return self.trusted_proxies
        # On Heroku (which sets DYNO) only the router reaches us; elsewhere anybody may write these headers.
        return ("*",) if self.dyno is not None else ("127.0.0.1", "::1")

    @property
    def web_connections(self) -> int:
        """Connections that one web process may hold."""
        return self.db_connections or 3

    @property
    def worker_connections(self) -> int:
        """Connections that one worker process may hold: 3 of the worker's own, the rest for sessions of jobs."""
        return self.db_connections or 6

    def _refuse_weak_secrets(self) -> None:
        secrets = [
            ("SPOILS_ADMIN_PASSWORD", self.admin_password, LEAST_PASSWORD),
            ("SPOILS_VIEWER_PASSWORD", self.viewer_password, LEAST_PASSWORD),
            ("SECRET_KEY", self.secret_key, LEAST_TOKEN),
            *(("SPOILS_API_TOKEN", secret_of(token), LEAST_TOKEN) for token in self.api_tokens),
        ]
        given = [(name, secret, least) for name, secret, least in secrets if secret is not None]
        for name, secret, least in given:
            if why := weakness(secret, least=least):
                raise SettingError(
                    f"{name} is too weak for a server on the internet: {why}. "
                    "Generate one: python3 -c 'import secrets; print(secrets.token_hex())'"
                )
        twice = {secret for _, secret, _ in given if [one for _, one, _ in given].count(secret) > 1}
        if names := sorted({name for name, secret, _ in given if secret in twice}):
            raise SettingError(f"{' and '.join(names)} have the same value. Use a different secret for each.")


def environment_with(**changes: str) -> dict[str, str]:
    """This process's environment with some variables set, for a child."""
    return {**os.environ, **changes}


def misspelt(env: Mapping[str, str] | None = None) -> dict[str, str]:
    """The variables that are no setting and are spelt almost as one, with its name.

    Others may be settings of a later release, which a rollback must be able to start with.
    """
    names = [field.alias for field in Settings.model_fields.values() if field.alias]
    given = [
        name
        for name in (os.environ if env is None else env)
        if name.startswith(_OURS) and name not in names and not name.startswith(NOTIFY_PREFIX)
    ]
    meant = {name: difflib.get_close_matches(name, names, n=1, cutoff=0.85) for name in given}
    return {name: close[0] for name, close in meant.items() if close}


def data_folder(name: str) -> Path:
    """The folder `templates` or `static`: in an installed package within it, in a clone beside it."""
    return next(path for path in (PACKAGE / name, PACKAGE.parent / name) if path.is_dir())


def current_settings() -> Settings:
    """The settings of the application whose context is active: in a request, and in a job's `run`."""
    settings: Settings = current_app.config["SPOILS"]
    return settings


def secret_of(token: str) -> str:
    """The secret of an API token, which may have a name before a colon: `scanner:s3cret`."""
    name, colon, secret = token.partition(":")
    return (secret if colon else name).strip()


def _split(text: object) -> Any:
    if isinstance(text, str):
        return tuple(part.strip() for part in text.split(",") if part.strip())
    return text


def _users(given: object) -> Any:
    if not isinstance(given, str):
        return given
    try:
        return parse_users(given)
    except ValueError as exc:
        raise _wrong(str(exc)) from None


def _threads(given: object) -> Any:
    """The threads of `5`, or of `fetch_product:2,*:5`."""
    if not isinstance(given, str):
        return given
    if ":" not in given:
        number = _number_of_threads(given)
        if number is None:
            raise _wrong(f"a whole number from 1 to {MOST_THREADS} is needed")
        return {OTHERS: number}
    pools: dict[str, int] = {}
    for part in given.split(","):
        name, _, text = part.strip().rpartition(":")
        number = _number_of_threads(text)
        if number is None or not re.fullmatch(r"\*|[A-Za-z0-9_.-]{1,100}", name):
            raise _wrong(
                f'"{part.strip()}" is not the threads of a task type. Write such as fetch_product:2,*:5'
            )
        if name in pools:
            raise _wrong(f"it has {name} twice")
        pools[name] = number
    if OTHERS not in pools:
        raise _wrong("it needs the threads of the other task types too, as in fetch_product:2,*:5")
    if sum(pools.values()) > MOST_THREADS:
        raise _wrong(f"at most {MOST_THREADS} threads in all are possible")
    return pools


def _number_of_threads(text: str) -> int | None:
    number = int(text) if re.fullmatch(r"\s*[0-9]{1,3}\s*", text, re.ASCII) else 0
    return number if 1 <= number <= MOST_THREADS else None


def _wrong(sentence: str) -> PydanticCustomError:
    return PydanticCustomError("setting", "{sentence}", {"sentence": sentence})


def _sentence(error: Any) -> str:
    name = str(error["loc"][0])
    # pydantic's own messages name neither both bounds nor what to write instead.
    wanted = error["msg"] if error["type"] == "setting" else f"{_wanted(name)} is needed"
    return f"{name} is wrong: {wanted.rstrip('.')}."


def _wanted(name: str) -> str:
    """What the setting of that name takes: its type and its bounds."""
    field = next(field for field in Settings.model_fields.values() if field.alias == name)
    kinds = {field.annotation, *get_args(field.annotation)}
    rules = ("ge", "gt", "le", "min_length")
    bounds = {rule: getattr(one, rule) for one in field.metadata for rule in rules if hasattr(one, rule)}
    if "DEBUG" in kinds:
        return f"one of {', '.join(get_args(field.annotation))}"
    if bool in kinds:
        return "0 or 1"
    if not kinds.isdisjoint((int, float)):
        least = f"from {bounds['ge']}" if "ge" in bounds else f"above {bounds['gt']} and up"
        return f"a {'whole ' if int in kinds else ''}number {least} to {bounds['le']}"
    return f"a text of at least {bounds.get('min_length', 1)} characters in UTF-8"
