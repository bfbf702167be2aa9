"""The one family of errors that Spoils raises on purpose."""


class SpoilsError(Exception):
    """Something in Spoils went wrong."""

    def __init__(self, message: str | None = None) -> None:
        """Take the sentence to show; without one, the class's docstring is it."""
        super().__init__(message or (self.__doc__ or type(self).__name__).strip())


class SettingError(SpoilsError):
    """A setting is missing or wrong."""


class JobDefinitionError(SpoilsError, TypeError):
    """A job class breaks the contract of a job."""


class PayloadError(SpoilsError, ValueError):
    """A payload does not fit its job class."""


class DatabaseAway(SpoilsError):
    """The database does not answer."""


class UnsuitableDatabase(SpoilsError):
    """The database's encoding or the server's version is not supported."""


class ForeignTable(SpoilsError):
    """A table has the name of one of ours, but belongs to another program."""
