"""Static files: no request opens a file outside `static/`, and only a fingerprinted address is kept for ever."""

import hashlib
import http.client
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from flask.testing import FlaskClient

from spoils.config import ROOT
from tests.programs import Web
from tests.web.conftest import MakeClient

STYLES = ROOT / "static" / "base.css"
REFUSED = {"Host": "evil.example"}

_opened: list[str] | None = None


def _note(event: str, arguments: tuple[object, ...]) -> None:
    if _opened is not None and event == "open":
        _opened.append(os.fsdecode(arguments[0]) if isinstance(arguments[0], (str, bytes)) else "")


@pytest.fixture
def opened() -> Iterator[list[str]]:
    """The files that this process opens while the test runs."""
    global _opened  # noqa: PLW0603 - an audit hook cannot be removed
    if not getattr(_note, "added", False):
        sys.addaudithook(_note)
        _note.added = True  # type: ignore[attr-defined]
    _opened = []
    yield _opened
    _opened = None


def spellings(target: str) -> list[str]:
    """Addresses that would lead from `static/` to the file `target` if anything followed them."""
    steps = [*[".."] * 12, *target.strip("/").split("/")]
    joined = ("/", "%2f", "%2F", "\\", "%5c", "//", "%252f")
    paths = [sign.join(steps) for sign in joined]
    paths += [path.replace("..", dots) for path in paths for dots in ("%2e%2e", ".%2E", "%252e%252e")]
    paths += [
        target,
        f"/{target}",
        target.replace("/", "%2f"),
        f"base.css/{'/'.join(steps)}",
        f"base.css%00{'/..' * 12}{target}",
        f"{'../' * 12}{target[1:]}%00.css",
        f"./{'%2f'.join(steps)}",
        f"0123456789ab/{'%2f'.join(steps)}",
    ]
    return [f"/static/{path}" for path in paths]


@pytest.mark.parametrize("headers", [{}, REFUSED], ids=["known host", "refused host"])
def test_no_spelling_of_an_address_opens_a_file_outside_the_folder(
    client_with: MakeClient, tmp_path: Path, opened: list[str], headers: dict[str, str]
) -> None:
    client = client_with(SPOILS_HOSTS="localhost")
    secret = tmp_path / "secret"
    secret.write_text("beside the static files")
    fingerprint = hashlib.sha256(secret.read_bytes()).hexdigest()[:12]
    prefix = re.search(r"(/static/[0-9a-f]{12})/", client.get("/nothing").text)
    assert prefix
    paths = spellings(str(secret)) + [
        path.replace("/static", prefix[1], 1) for path in spellings(str(secret))
    ]
    opened.clear()
    for path in paths:
        for address in (path, f"{path}?v={fingerprint}"):
            with client.get(address, headers=headers) as answer:
                assert answer.status_code in (400, 404), address
                assert "immutable" not in answer.headers["Cache-Control"]
    assert opened == []
    with client.get("/static/base.css"):
        assert opened == [str(STYLES)]  # the hook hears of what is opened


@pytest.mark.process
def test_a_fifo_outside_the_folder_stops_no_real_server(database_url: str, tmp_path: Path) -> None:
    # Whoever opens a FIFO waits until somebody writes to it.
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    with Web(database_url) as web:
        address = urlsplit(web.url)
        for path in spellings(str(fifo)):
            for query in ("", "?v=0123456789ab"):
                connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=10)
                connection.putrequest("GET", f"{path}{query}", skip_host=True)
                connection.putheader("Host", "localhost")
                connection.endheaders()
                assert connection.getresponse().status in (400, 404), path
                connection.close()
        assert "Traceback" not in web.output


def test_a_static_file_is_kept_for_ever_under_the_fingerprint_of_the_folder_only(client: FlaskClient) -> None:
    urls = set(re.findall(r'(?:href|src)="(/static/[^"#]+)', client.get("/nothing").text))
    assert {url.rpartition("/")[2] for url in urls} >= {"tokens.css", "base.css", "spoils.js", "mark.svg"}
    for url in urls:
        plain = re.sub("/[0-9a-f]{12}/", "/", url)
        for path, kept in ((url, "max-age=315360000, public, immutable"), (plain, "max-age=0, public")):
            with client.get(path) as answer:
                assert answer.status_code == 200
                assert answer.headers["Cache-Control"] == kept
            unchanged = client.get(path, headers={"If-None-Match": answer.headers["ETag"]})
            assert unchanged.status_code == 304
        assert client.get(url.replace("/static/", "/static/0")).status_code == 404


@pytest.mark.parametrize("path", ["/static/base.css", "/static/theme.js"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "OPTIONS"])
def test_a_static_file_has_the_security_headers_of_a_page(
    client: FlaskClient, path: str, method: str
) -> None:
    with client.open(path, method=method, base_url="https://localhost") as answer:
        assert answer.status_code == (200 if method in ("GET", "HEAD") else 405)
        page = client.get("/nothing", base_url="https://localhost").headers
        for name in (
            "Content-Security-Policy",
            "X-Frame-Options",
            "X-Content-Type-Options",
            "Referrer-Policy",
            "Strict-Transport-Security",
        ):
            assert answer.headers.getlist(name) == [page[name]]
