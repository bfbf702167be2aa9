"""Whether the web program can listen on its port."""

import errno
import os
import socket

from spoils.errors import SettingError


def check_port(host: str, port: int) -> None:
    """Raises SettingError where no program can start to listen there now."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as trial:
        # As the servers do: connections that have just ended on the port are no obstacle.
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind((host, port))
        except OSError as exc:
            raise SettingError(f"PORT is wrong: {_reason(port, exc)}.") from exc


def _reason(port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"another program listens on port {port}. Stop that program, or set PORT to another port"
    if error.errno == errno.EACCES:
        return f"this user may not listen on port {port}. Set PORT to a port from 1024 on, such as 8000"
    return f"no program can listen on port {port} ({os.strerror(error.errno or 0)}). Set PORT to another port"
