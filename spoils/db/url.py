"""Which database: the one that is set, else the embedded one of development."""

from spoils.config import ROOT, Settings
from spoils.errors import SettingError


def database_url(settings: Settings) -> str:
    """The URL of DATABASE_URL, or that of the embedded server, which is then running. Raises SettingError."""
    if settings.database_url is not None:
        return settings.database_url
    if settings.dyno is not None:
        raise SettingError("DATABASE_URL is not set: attach a PostgreSQL database to the app.")
    from spoils.db.embedded import development_url  # noqa: PLC0415 - a development dependency

    return development_url(ROOT)
