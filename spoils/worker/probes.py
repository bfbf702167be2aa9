"""`/livez` and `/readyz` of the worker program, for Kubernetes and other supervisors."""

import socket
import threading
from collections.abc import Callable, Iterable
from typing import Any

from spoils.errors import SettingError


class Probes:
    """Answers on a port of its own. `/livez` is 200 as long as the process runs, `/readyz` only while `ready()`."""

    def __init__(self, port: int, ready: Callable[[], bool]) -> None:
        """Raises SettingError where the port is taken."""
        # Imported here: most workers have no probes, and would keep its memory.
        from werkzeug.serving import WSGIRequestHandler, make_server  # noqa: PLC0415

        class Quiet(WSGIRequestHandler):
            def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
                pass  # a probe each second

        self._ready = ready
        try:
            self._socket = socket.create_server(("", port))
        except OSError as exc:
            raise SettingError(
                f"SPOILS_PROBE_PORT={port} cannot be listened on ({exc.strerror}): choose a free port."
            ) from exc
        server = make_server(
            "", port, self._answer, threaded=True, request_handler=Quiet, fd=self._socket.fileno()
        )
        threading.Thread(target=server.serve_forever, name="probes", daemon=True).start()

    def _answer(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        match environ["PATH_INFO"]:
            case "/livez":
                status, text = "200 OK", "alive"
            case "/readyz":
                status, text = (
                    ("200 OK", "ready") if self._ready() else ("503 Service Unavailable", "not ready")
                )
            case _:
                status, text = "404 Not Found", "There are /livez and /readyz."
        start_response(status, [("Content-Type", "text/plain; charset=utf-8")])
        return [f"{text}\n".encode()]
