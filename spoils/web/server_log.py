"""gunicorn's log, in the lines of our own programs."""

import logging
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from gunicorn.glogging import Logger

from spoils.logs import LineFormatter, LineHandler
from spoils.masking import masked_text

_MILLISECOND = timedelta(milliseconds=1)


class ServerLog(Logger):  # type: ignore[misc]
    """An address and a referrer are whatever a client sent, secrets too: its lines are masked at every level."""

    def setup(self, cfg: Any) -> None:
        """Put our handler in the place of those that gunicorn has set up."""
        super().setup(cfg)
        for log in (self.error_log, self.access_log):
            if log.handlers:
                log.handlers[:] = [LineHandler(_MaskedFormatter())]

    def access(self, resp: Any, _req: Any, environ: Mapping[str, Any], request_time: timedelta) -> None:
        """Tell of a request: whose, which, and its answer's status, bytes and time; and not each header of it."""
        if not self.access_log_enabled:
            return
        self.access_log.info(
            '%s "%s %s %s" %s %s %dms "%s" "%s"',
            _quoted(environ.get("REMOTE_ADDR", "-")),
            environ["REQUEST_METHOD"],
            _quoted(environ["RAW_URI"]),
            environ["SERVER_PROTOCOL"],
            str(resp.status).partition(" ")[0],
            getattr(resp, "sent", None) or "-",
            request_time // _MILLISECOND,
            _quoted(environ.get("HTTP_REFERER", "-")),
            _quoted(environ.get("HTTP_USER_AGENT", "-")),
        )


def _quoted(text: str) -> str:
    return text.replace('"', '\\"')


class _MaskedFormatter(LineFormatter):
    def message(self, record: logging.LogRecord) -> str:
        return masked_text(record.getMessage())
