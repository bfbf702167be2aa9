"""Which database: the one that is set, else the embedded one of development."""

from spoils.config import ROOT, Settings


def database_url(settings: Settings) -> str:
    """The URL of DATABASE_URL, or that of the embedded server, which is then running. Raises SettingError."""
    if settings.database_url is not None:
        return settings.database_url
    from spoils.db.embedded import development_url  # noqa: PLC0415 - a development dependency

    return development_url(ROOT)


def psql(settings: Settings) -> str:
    """The psql to use: the machine's own for a database that is set, the embedded server's for that."""
    if settings.database_url is not None:
        return "psql"
    from spoils.db.embedded import programs  # noqa: PLC0415 - a development dependency

    return str(programs() / "psql")
