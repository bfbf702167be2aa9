"""Static files under URLs that name their content, so that a browser may keep them for ever."""

import hashlib
from pathlib import Path

from flask import Flask, url_for

FOR_EVER = "public, max-age=31536000, immutable"


class Assets:
    """The fingerprints of a folder's files; a file that changed since, as in development, is read again."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known: dict[str, tuple[int, str]] = {}

    def url(self, name: str) -> str:
        """Where the file is served, with its fingerprint in the query."""
        return url_for("static", filename=name, v=self.fingerprint(name))

    def fingerprint(self, name: str) -> str | None:
        """Twelve hex digits of the file's hash; None where there is no such file."""
        path = self._folder / name
        try:
            changed = path.stat().st_mtime_ns
            known = self._known.get(name)
            if known is None or known[0] != changed:
                known = self._known[name] = (changed, hashlib.sha256(path.read_bytes()).hexdigest()[:12])
        except (OSError, ValueError):
            return None
        return known[1]


def init_app(app: Flask) -> None:
    """Give the templates of `app` the function `asset(name)`."""
    assets = Assets(Path(app.static_folder or ""))
    app.extensions["spoils_assets"] = assets
    app.jinja_env.globals["asset"] = assets.url
