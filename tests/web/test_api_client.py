"""The client that docs/api.md shows does what it says: against a real server, and where the answers are lost."""

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import requests

from tests.documents import blocks
from tests.programs import Web, worker
from tests.rows import Rows

pytestmark = pytest.mark.process

PAGE = b"<html><body><h1>502 Bad Gateway</h1></body></html>"


@pytest.fixture(scope="module")
def client() -> dict[str, Any]:
    """What the client's file defines."""
    source = next(block.text for block in blocks("docs/api.md") if block.language == "python")
    there: dict[str, Any] = {"__name__": "client"}
    exec(compile(source, "docs/api.md", "exec"), there)
    return there


@pytest.fixture(scope="module")
def web(database_of_the_file: str) -> Iterator[Web]:
    with Web(database_of_the_file, SPOILS_API_TOKEN="t0ken") as web:
        yield web


def test_the_client_enqueues_and_waits(
    client: dict[str, Any], web: Web, database_url: str, rows: Rows
) -> None:
    spoils = client["Spoils"](web.url, "t0ken")
    job = spoils.enqueue("AnalyzeIngredientsJob", {"product_id": 7})
    assert spoils.enqueue("AnalyzeIngredientsJob", {"product_id": 7}) == client["Enqueued"](
        job.id, "new", True
    )
    with pytest.raises(client["SpoilsError"], match="product_id") as refused:
        spoils.enqueue("AnalyzeIngredientsJob", {"product_id": "7"})
    assert refused.value.status == 422
    assert spoils.wait(job.id, 0)["state"] == "new"
    with worker(database_url):
        assert spoils.wait(job.id, 60)["state"] == "failed"  # there is no product 7
    assert rows.value("SELECT count(*) FROM fang_tasks WHERE task_type = 'analyze_ingredients'") == 1


class Gateway(ThreadingHTTPServer):
    """Passes requests on to a server, and loses the next answers in the ways that `script` lists."""

    def __init__(self, server: str) -> None:
        super().__init__(("127.0.0.1", 0), _Exchange)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.server = server
        self.script: list[Callable[[_Exchange, requests.Response], None]] = []
        self.passed: list[requests.Response] = []
        self.closing = threading.Event()
        self.thread = threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True)

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # the client has given up


class _Exchange(BaseHTTPRequestHandler):
    server: Gateway

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        sent = {name: self.headers[name] for name in ("Authorization", "Content-Type", "Idempotency-Key")}
        answer = requests.post(self.server.server + self.path, data=body, headers=sent, timeout=60)
        self.server.passed.append(answer)
        behave = self.server.script.pop(0) if self.server.script else faithful
        behave(self, answer)

    def say(self, status: int, body: bytes, content_type: str, length: int | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        return None


def faithful(exchange: _Exchange, answer: requests.Response) -> None:
    exchange.say(answer.status_code, answer.content, "application/json")


def silent(exchange: _Exchange, answer: requests.Response) -> None:
    exchange.server.closing.wait(60)


def bad_gateway(exchange: _Exchange, answer: requests.Response) -> None:
    exchange.say(502, PAGE, "text/html")


def cut_off(exchange: _Exchange, answer: requests.Response) -> None:
    exchange.close_connection = True


def cut_short(exchange: _Exchange, answer: requests.Response) -> None:
    exchange.say(answer.status_code, answer.content[:10], "application/json", length=len(answer.content))
    exchange.close_connection = True


def page_of_html(exchange: _Exchange, answer: requests.Response) -> None:
    exchange.say(200, PAGE, "text/html")


def redirect(exchange: _Exchange, answer: requests.Response) -> None:
    exchange.send_response(301)
    exchange.send_header("Location", exchange.path)
    exchange.send_header("Content-Length", "0")
    exchange.end_headers()


@pytest.fixture
def gateway(web: Web) -> Iterator[Gateway]:
    with Gateway(web.url) as gateway:
        gateway.thread.start()
        yield gateway
        gateway.closing.set()
        gateway.shutdown()


def notify(spoils: Any) -> Any:
    payload = {"user_id": 1, "notification_type": "email", "message": "Once."}
    return spoils.enqueue("SendNotificationJob", payload)


@pytest.mark.parametrize("losing", [silent, bad_gateway, cut_off, cut_short])
def test_a_call_whose_answer_is_lost_is_repeated_and_enqueues_once(
    client: dict[str, Any], gateway: Gateway, rows: Rows, losing: Any
) -> None:
    gateway.script = [losing]
    # A timeout is waited for in one of the four ways only.
    spoils = client["Spoils"](gateway.url, "t0ken", timeout=2.0 if losing is silent else 60.0)
    job = notify(spoils)
    assert [(str(task_id), state) for task_id, state in rows.all("SELECT id, state FROM fang_tasks")] == [
        (job.id, "new")
    ]
    assert {answer.json()["id"] for answer in gateway.passed} == {job.id}
    assert gateway.passed[1].headers["Idempotent-Replayed"] == "true"


@pytest.mark.parametrize(
    ("losing", "error"), [(cut_off, requests.ConnectionError), (silent, requests.Timeout)]
)
def test_after_the_last_try_the_client_raises_what_it_met(
    client: dict[str, Any], gateway: Gateway, losing: Any, error: type[Exception]
) -> None:
    gateway.script = [losing, losing]
    with pytest.raises(error):
        notify(client["Spoils"](gateway.url, "t0ken", tries=2, timeout=2.0))
    assert len(gateway.passed) == 2


@pytest.mark.parametrize(("answering", "status"), [(bad_gateway, 502), (page_of_html, 200), (redirect, 301)])
def test_an_answer_that_is_not_of_spoils_is_an_error_with_its_status(
    client: dict[str, Any], gateway: Gateway, answering: Any, status: int
) -> None:
    gateway.script = [answering]
    with pytest.raises(client["SpoilsError"]) as refused:
        notify(client["Spoils"](gateway.url, "t0ken", tries=1, timeout=60.0))
    assert refused.value.status == status
