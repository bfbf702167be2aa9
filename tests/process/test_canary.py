"""A secret that real programs are given is in no line that they write, and in no answer."""

import socket
from contextlib import suppress
from urllib.parse import quote, urlsplit

import pytest
import requests

from spoils.masking import MASK
from spoils.queue.enqueue import enqueue
from tests.programs import Program, Web, worker
from tests.rows import Rows
from tests.sample_jobs import RaisingJob

pytestmark = pytest.mark.process

CANARY = "Kanarienvogel7f3a9c"
URL = f"https://someone:{CANARY}@db.example/path"
SETTINGS = {
    "SPOILS_ADMIN_PASSWORD": f"admin-{CANARY}",
    "SPOILS_VIEWER_PASSWORD": f"viewer-{CANARY}",
    "SECRET_KEY": f"key-{CANARY}-key-key",
    "SPOILS_API_TOKEN": f"shop:token-{CANARY}",
    "SPOILS_ALERT_URL": f"json://someone:{CANARY}@127.0.0.1:1/",
    "SPOILS_NOTIFY_URL_EMAIL": f"mailtos://someone:{CANARY}@mail.example",
    "LOG_LEVEL": "DEBUG",
}
BROKEN = (
    f"GET /api/jobs/status HTTP/1.1\r\nHost: spoils\r\nAuthorization Bearer {CANARY}\r\n\r\n",
    f"GET /api/jobs/status HTTP/1.1\r\nHost: spoils\r\nX-Api-Key : {CANARY}\r\n\r\n",
    f"GET /?token={CANARY}&{'a' * 5000} HTTP/1.1\r\nHost: spoils\r\n\r\n",
)


def with_password(database_url: str) -> str:
    """The same database, by a URL that holds a password: nobody asks for it, and libpq takes it."""
    parts = urlsplit(database_url)
    name, at, host = parts.netloc.rpartition("@")
    user = name.partition(":")[0]
    return parts._replace(netloc=f"{user}:{CANARY}{at}{host}").geturl()


def answer_to(web: Web, sent: str) -> str:
    address = urlsplit(web.url)
    with socket.create_connection((address.hostname, address.port), 15) as connection:
        connection.sendall(sent.encode())
        answer = b""
        with suppress(ConnectionResetError):
            while block := connection.recv(65536):
                answer += block
    return answer.decode()


def test_gunicorn_and_its_application_show_it_nowhere(database_url: str) -> None:
    answers: list[str] = []
    with Web(with_password(database_url), **SETTINGS) as web:

        def ask(method: str, path: str, **more: object) -> None:
            answer = requests.request(method, web.url + path, timeout=15, **more)
            answers.append(f"{answer.status_code} {answer.headers} {answer.text}")

        bearer = {"Authorization": f"Bearer token-{CANARY}"}
        for headers in (
            bearer,
            {"Authorization": f"Bearer {CANARY}"},
            {"Cookie": f"spoils_session={CANARY}"},
        ):
            ask("GET", "/api/jobs/status", headers=headers)
            ask("GET", f"/static/nothing?token={CANARY}", headers=headers)
        ask("GET", "/api/jobs/status", headers={"Referer": f"{web.url}/?api_key={CANARY}"})
        ask("GET", "/api/jobs/status", auth=("someone", CANARY))
        ask("GET", f"/api/products/{quote(URL, safe='')}", headers=bearer)
        order = {"type": "FetchProductJob", "payload": {"barcode": "4006381333931", "password": CANARY}}
        ask("POST", "/api/jobs", json=order, headers=bearer)
        ask("POST", "/api/jobs/fetch-product", json={"barcode": [URL], "secret": CANARY}, headers=bearer)
        ask("POST", "/login", data={"password": f"wrong-{CANARY}"})
        # gunicorn answers these, and repeats to a client what it could not read.
        assert all(" 4" in answer_to(web, sent)[:14] for sent in BROKEN)
        web.says("POST /login")
    assert len(answers) == 12
    assert [answer for answer in answers if CANARY in answer] == []
    assert [line for line in web.lines if CANARY in line] == []


def test_a_worker_shows_it_nowhere(database_url: str, rows: Rows) -> None:
    with worker(with_password(database_url), **SETTINGS) as program:
        for words in (f"password={CANARY}", f"could not reach {URL}", f"Authorization: Bearer {CANARY}"):
            task_id = enqueue(rows.connection, RaisingJob(what=words)).id
            assert MASK in rows.becomes(task_id, "retried").error_message
        program.says("Failed RaisingJob, will be retried: ValueError: boom")
    assert [line for line in program.lines if CANARY in line] == []


def test_a_database_that_is_away_has_its_password_shown_nowhere() -> None:
    away = f"postgresql://spoils:{CANARY}@127.0.0.1:1/spoils"
    with Program("worker.py", DATABASE_URL=away, **SETTINGS) as program:
        program.says("The database does not answer yet")
    assert [line for line in program.lines if CANARY in line] == []
