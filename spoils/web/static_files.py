"""Static files, served by WhiteNoise before Flask: it lists the folder at start and opens no other file."""

import hashlib
from pathlib import Path

from flask import Flask, request
from whitenoise import WhiteNoise

from spoils.config import data_folder

FOLDER = data_folder("static")


def init_app(app: Flask) -> None:
    """Serve the folder of `app`, and give its templates the function `asset(name)`.

    A browser may cache a file forever under the fingerprint of the whole folder; under its plain name it revalidates.
    """
    fingerprinted = f"static/{_fingerprint(FOLDER)}"
    served = WhiteNoise(
        app.wsgi_app, max_age=0, allow_all_origins=False, immutable_file_test=f"^/{fingerprinted}/"
    )
    served.add_files(FOLDER, "static")
    served.add_files(FOLDER, fingerprinted)
    app.wsgi_app = served  # type: ignore[method-assign]
    app.jinja_env.globals["asset"] = lambda name: f"{request.script_root}/{fingerprinted}/{name}"


def _fingerprint(folder: Path) -> str:
    found = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        content = path.read_bytes()
        found.update(f"{path.relative_to(folder)} {len(content)}\n".encode())
        found.update(content)
    return found.hexdigest()[:12]
