"""nginx with the configuration that we ship, before a web program of the tests."""

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests

from tests.programs import ROOT, Web, free_port
from tests.support import eventually


@contextlib.contextmanager
def nginx_before(*webs: Web, folder: Path) -> Iterator[str]:
    """Its URL, once it answers. Skips the test where there is no nginx.

    `folder` gets its configuration, its log of errors, and `upstream`, which has a line for each request: where it was
    passed to, or "-".
    """
    nginx = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    if nginx is None:
        pytest.skip("There is no nginx here.")
    port = free_port()
    shipped = (ROOT / "deploy" / "nginx.conf").read_text()
    for ours, here in (
        ("listen 80;", f"listen 127.0.0.1:{port};"),
        ("listen [::]:80;", ""),
        ("server 127.0.0.1:8000;", "".join(f"server {urlsplit(web.url).netloc};" for web in webs)),
    ):
        assert ours in shipped
        shipped = shipped.replace(ours, here)
    stored = "".join(
        f"{kind}_temp_path {folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    # Debian's defaults around it.
    (folder / "nginx.conf").write_text(
        f"daemon off; pid {folder}/pid; error_log stderr; worker_processes 2;"
        f"{'user root;' if os.geteuid() == 0 else ''} events {{ worker_connections 768; }}"
        f"http {{ log_format upstream '$upstream_addr'; access_log {folder}/upstream upstream; {stored} {shipped} }}"
    )
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            ["/bin/sh", "-c", 'ulimit -n 1024 && exec "$@"', "sh", nginx, "-c", folder / "nginx.conf"],
            stdin=subprocess.DEVNULL,
            stderr=log,
        )
    try:
        url = f"http://127.0.0.1:{port}"

        def starts() -> None:
            assert process.poll() is None, (folder / "log").read_text()
            with contextlib.suppress(requests.ConnectionError):
                assert requests.get(f"{url}/health", timeout=25).json() == {"status": "ok"}
                return
            raise AssertionError("not yet")

        eventually(starts, 30)
        yield url
    finally:
        process.terminate()
        process.wait(30)
