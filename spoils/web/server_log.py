"""gunicorn's log, in the lines of our own programs."""

import logging
from collections.abc import Mapping
from datetime import timedelta
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

    def atoms(
        self, resp: Any, _req: Any, environ: Mapping[str, Any], request_time: timedelta
    ) -> dict[str, Any]:
        """What `access_log_format` of gunicorn.conf.py names, and not each header and variable of each request."""
        return {
            "h": environ.get("REMOTE_ADDR", "-"),
            "r": f"{environ['REQUEST_METHOD']} {environ['RAW_URI']} {environ['SERVER_PROTOCOL']}",
            "s": str(resp.status).partition(" ")[0],
            "b": str(getattr(resp, "sent", None) or "-"),
            "M": request_time // timedelta(milliseconds=1),
            "f": environ.get("HTTP_REFERER", "-"),
            "a": environ.get("HTTP_USER_AGENT", "-"),
        }


class _MaskedFormatter(LineFormatter):
    def message(self, record: logging.LogRecord) -> str:
        return masked_text(record.getMessage())
