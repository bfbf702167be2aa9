"""gunicorn's log, in the lines of our own programs."""

import logging
from typing import Any

from gunicorn.glogging import Logger

from spoils.logs import LineFormatter
from spoils.masking import masked_text


class ServerLog(Logger):  # type: ignore[misc]
    """An address and a referrer are whatever a client sent, secrets too: its lines are masked at every level."""

    def setup(self, cfg: Any) -> None:
        """Give each handler that gunicorn has set up our form."""
        super().setup(cfg)
        for log in (self.error_log, self.access_log):
            for handler in log.handlers:
                handler.setFormatter(_MaskedFormatter())


class _MaskedFormatter(LineFormatter):
    def message(self, record: logging.LogRecord) -> str:
        return masked_text(record.getMessage())
