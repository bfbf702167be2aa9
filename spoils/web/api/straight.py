"""The plainest request, answered before Flask: a POST of one job to its own endpoint, with a token.

It is what an API is asked for most, and of its cost Flask's part was the largest. Whatever is not plain, or wrong in
any way, goes on to Flask, which looks at it from the beginning.
"""

import io
import re
from collections.abc import Iterable
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from flask import Flask
from sqlalchemy import Engine
from werkzeug.wsgi import get_host

from spoils.config import Settings
from spoils.db import held
from spoils.errors import PayloadError
from spoils.job import Job
from spoils.job.registry import registry
from spoils.models import db
from spoils.queue.enqueue import enqueue_surely, log_enqueued
from spoils.web import proxy
from spoils.web.api import answers, body, tokens
from spoils.web.api.order import read_job
from spoils.web.plain import MAY_HOLD

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

PREFIX = "/api/jobs/"
JSON = "application/json"
NOT_PLAIN = {
    "HTTP_COOKIE",
    "HTTP_IDEMPOTENCY_KEY",
    "HTTP_ORIGIN",
    "HTTP_SEC_FETCH_SITE",
    "HTTP_TRANSFER_ENCODING",
    "HTTP_UPGRADE",
}
"""What changes the answer, or may."""


_HOST = re.compile(r"[A-Za-z0-9-]{1,63}(\.[A-Za-z0-9-]{1,63})*(:[0-9]{1,5})?")


class Straight:
    """WSGI middleware around Flask's own application."""

    def __init__(self, app: Flask, inner: "WSGIApplication") -> None:
        self._app = app
        self._inner = inner
        self._settings: Settings = app.config["SPOILS"]
        self._longest: int = app.config["MAX_CONTENT_LENGTH"]
        with app.app_context():
            self._engine: Engine = db.engine

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        found = self._found(environ) if self._is_plain(environ) else None
        if found is None:
            held.let_go()  # what Flask's part needs it takes from the pool
            return self._inner(environ, start_response)
        job, payload = found
        try:
            enqueued = enqueue_surely(self._engine, job, hold=MAY_HOLD in environ)
        except PayloadError:
            held.let_go()
            return self._inner(environ, start_response)  # nothing went in
        except Exception as exc:  # noqa: BLE001 - Flask's handlers answer it
            held.let_go()
            return self._failed(environ, exc)(environ, start_response)
        log_enqueued(job, enqueued)
        data = f"{answers.text_of(answers.told(job, enqueued, payload))}\n".encode()
        start_response(
            f"{HTTPStatus.OK:d} {HTTPStatus.OK.phrase}",
            [
                ("Content-Type", JSON),
                ("Content-Length", str(len(data))),
                ("Cache-Control", "no-store"),
            ],
        )
        return [data]

    def _is_plain(self, environ: "WSGIEnvironment") -> bool:
        return (
            environ["REQUEST_METHOD"] == "POST"
            and environ["PATH_INFO"].startswith(PREFIX)
            and not environ.get("QUERY_STRING")
            and not environ.get("SCRIPT_NAME")
            and environ.get("CONTENT_TYPE") == JSON
            and NOT_PLAIN.isdisjoint(environ)
            and tokens.token_in(environ.get("HTTP_AUTHORIZATION", ""), self._settings.api_tokens) is not None
            and _HOST.fullmatch(environ.get("HTTP_HOST", "")) is not None
            and (not self._settings.hosts or proxy.named(get_host(environ), self._settings.hosts))
        )

    def _found(self, environ: "WSGIEnvironment") -> tuple[Job, dict[str, Any]] | None:
        """The job that the body holds, and its payload as it is told. None where anything is wrong: Flask's part
        finds it, and says so."""
        job_class = registry.at_endpoint(environ["PATH_INFO"].removeprefix(PREFIX))
        length = environ.get("CONTENT_LENGTH", "")
        if job_class is None or not (length.isascii() and length.isdigit() and len(length) < 9):
            return None
        if int(length) > self._longest:
            return None
        try:
            data = environ["wsgi.input"].read(int(length))
        except OSError:
            data = b""  # it broke off
        # To be read again by whoever looks at it from the beginning.
        environ["wsgi.input"] = io.BytesIO(data)
        if len(data) < int(length):
            return None
        try:
            text, given = body.object_in(data)
            job = read_job(job_class, given, text)
            return job, answers.payload(job)
        except Exception:  # noqa: BLE001 - a class's validators are user code
            return None

    def _failed(self, environ: "WSGIEnvironment", error: Exception) -> "WSGIApplication":
        """What Flask's handlers answer to an error."""
        with self._app.request_context(environ):
            return self._app.finalize_request(self._app.handle_user_exception(error))
