"""Notifications, delivered to a real mail server and a real HTTP endpoint on loopback."""

import logging
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from spoils.errors import SpoilsError
from spoils.notifications import NotificationRefused, check_url, deliver, without_secrets
from tests.receivers import Mailbox, Webhook, a_mailbox, a_webhook

# Apprise imports a module that Python 3.13 has no longer, and does without it there.
pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    with a_mailbox() as box:
        yield box


@pytest.fixture
def endpoint() -> Iterator[Webhook]:
    with a_webhook() as server:
        yield server


def refused(url: str, seconds: float = 5.0) -> str:
    with pytest.raises(NotificationRefused) as error:
        deliver(url, title="A title", body="A body", deadline_seconds=seconds)
    assert isinstance(error.value, SpoilsError)
    return str(error.value)


def mail_url(port: int, **extra: str) -> str:
    query = "&".join(f"{key}={value}" for key, value in extra.items())
    return f"mailto://127.0.0.1:{port}?smtp=127.0.0.1&mode=insecure&from=spoils@example.org&to=cook@example.org&{query}"


def test_a_mail_arrives_at_a_mail_server(mailbox: Mailbox) -> None:
    deliver(mail_url(mailbox.port), title="Noodles are back", body="Três bons — ✓")
    [mail] = mailbox.mails
    assert mail.rcpt_tos == ["cook@example.org"]
    assert mail.mail_from == "spoils@example.org"
    assert b"Noodles are back" in mail.content


def test_a_mail_that_the_server_refuses_is_an_error(mailbox: Mailbox) -> None:
    mailbox.answer = "554 No spam please"
    assert refused(mail_url(mailbox.port)).startswith("The mailto:// notification was not delivered")


def test_a_webhook_gets_title_and_body(endpoint: Webhook) -> None:
    deliver(f"json://{endpoint.place}/hook", title="A title", body="A body")
    [(path, posted)] = endpoint.posts
    assert path == "/hook"
    assert posted["title"] == "A title"
    assert posted["message"] == "A body"


def test_a_webhook_that_answers_with_an_error_is_an_error_with_its_reason(endpoint: Webhook) -> None:
    endpoint.status = 500
    told = refused(f"json://{endpoint.place}/hook")
    assert told.startswith("The json:// notification was not delivered: ")
    assert "500" in told


@pytest.mark.parametrize(
    ("user", "told"),
    [
        ("", "A Connection error occurred sending JSON notification to 127.0.0.1."),
        ("someone:notification@", "A Connection error occurred sending JSON *** to 127.0.0.1."),
    ],
)
def test_a_closed_port_is_an_error_whose_reason_holds_no_part_of_the_url(user: str, told: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    assert refused(f"json://{user}127.0.0.1:{port}/hook") == (
        f"The json:// notification was not delivered: {told}"
    )


@pytest.mark.parametrize("fault", ["silent", "drips"])
def test_a_server_that_does_not_end_its_answer_is_given_up_at_the_deadline(
    endpoint: Webhook, fault: str
) -> None:
    setattr(endpoint, fault, True)
    assert "not delivered" in refused(f"json://{endpoint.place}/hook?rto=60", seconds=0.3)


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("", "The notification URL is empty."),
        ("  ", "The notification URL is empty."),
        ("s3cret", "The configured notification URL is not understood."),
        ("carrier-pigeon://s3cret@loft", "The carrier-pigeon:// notification URL is not understood."),
        ("tgram://s3cret", "The tgram:// notification URL is not understood."),
        ("https://[s3cret", "The https:// notification URL is not understood."),
    ],
)
def test_a_url_that_is_not_understood_is_told_without_quoting_it(url: str, told: str) -> None:
    assert check_url(url) == told
    assert refused(url) == told


@pytest.mark.parametrize(
    "url",
    [
        "json://127.0.0.1/hook",
        "mailto://u:p@example.org",
        "tgram://123456789:ABCdefGHIjkl_mnoPQRstuVWxyz12345678/12345",
    ],
)
def test_a_url_that_is_understood_is_fine(url: str) -> None:
    assert check_url(url) is None


@pytest.mark.parametrize("names_threads", [True, False], ids=["as Python logs", "as our programs log"])
def test_no_secret_of_the_url_is_in_the_error_or_in_any_log(
    endpoint: Webhook,
    mailbox: Mailbox,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    names_threads: bool,
) -> None:
    monkeypatch.setattr(logging, "logThreads", names_threads)
    caplog.set_level(logging.DEBUG)
    logging.getLogger("urllib3").setLevel(logging.DEBUG)
    endpoint.status = 403
    mailbox.answer = "554 s3cretpass is wrong"
    urls = [
        f"json://s3cretuser:s3cretpass@{endpoint.place}/s3cretpath?+X-Key=s3cretkey",
        f"mailto://s3cretuser:s3cretpass@127.0.0.1:{mailbox.port}?smtp=127.0.0.1&mode=insecure&from=a@b.org&to=c@d.org",
        "nonsense://s3cretuser:s3cretpass@host/s3cretpath",
        "tgram://s3crettoken/s3cretchat",
    ]
    for url in urls:
        assert "s3cret" not in refused(url)
        assert "s3cret" not in (check_url(url) or "")
    endpoint.status = 200
    deliver(urls[0], title="A title", body="A body")
    assert len(endpoint.posts) == 2
    assert "s3cret" not in caplog.text


@pytest.mark.parametrize(
    ("text", "url", "left"),
    [
        ("bad token ABCD at host", "tgram://ABCD/chat", "bad token *** at host"),
        ("failed for p@ss", "json://u:p%40ss@h/x", "failed for ***"),
        ("see json://u:p@h/x now", "json://u:p@h/x", "see *** now"),
        ("see https://api.example.org/bot123 now", "tgram://zzz/chat", "see *** now"),
        ("a banana in a bowl", "json://u:a@h/", "*** banana in *** bowl"),
        ("line\nbreak\x1b[31m", "json://h/", "line break [31m"),
    ],
)
def test_every_part_of_the_url_is_taken_out_of_a_reason(text: str, url: str, left: str) -> None:
    assert without_secrets(text, url) == left


def test_apprise_is_not_loaded_until_it_is_needed() -> None:
    code = "import sys, spoils.notifications; sys.exit('apprise' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
