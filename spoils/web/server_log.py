"""gunicorn's log, in the lines of our own programs."""

import logging
import time
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from gunicorn.glogging import Logger

from spoils.logs import LineFormatter, line_of, only_handler, write
from spoils.masking import masked_text

_MILLISECOND = timedelta(milliseconds=1)


class ServerLog(Logger):  # type: ignore[misc]
    """An address and a referrer are whatever a client sent, secrets too: its lines are masked at every level."""

    def setup(self, cfg: Any) -> None:
        """Give each handler that gunicorn has set up our form."""
        super().setup(cfg)
        for log in (self.error_log, self.access_log):
            for handler in log.handlers:
                handler.setFormatter(_MaskedFormatter())

    def access(self, resp: Any, _req: Any, environ: Mapping[str, Any], request_time: timedelta) -> None:
        """Tell of a request: whose, which, and its answer's status, bytes and time; and not each header of it."""
        if not self.access_log_enabled:
            return
        told = (
            f"{_quoted(environ.get('REMOTE_ADDR', '-'))} "
            f'"{environ["REQUEST_METHOD"]} {_quoted(environ["RAW_URI"])} {environ["SERVER_PROTOCOL"]}" '
            f"{str(resp.status).partition(' ')[0]} {getattr(resp, 'sent', None) or '-'} "
            f"{request_time // _MILLISECOND}ms "
            f'"{_quoted(environ.get("HTTP_REFERER", "-"))}" "{_quoted(environ.get("HTTP_USER_AGENT", "-"))}"'
        )
        handler = only_handler(self.access_log)
        if handler is None or type(handler.formatter) is not _MaskedFormatter:
            self.access_log.info("%s", told)
        elif self.access_log.isEnabledFor(logging.INFO):
            # Without a record, which would cost more than the line.
            write(handler, line_of(time.time(), "INFO", masked_text(told)))


def _quoted(text: str) -> str:
    return text.replace('"', '\\"')


class _MaskedFormatter(LineFormatter):
    def message(self, record: logging.LogRecord) -> str:
        return masked_text(record.getMessage())
