"""Send a notification through Apprise: mail, chat, webhooks, whatever its URL names.

A notification URL holds passwords and tokens. So no message of ours, and no line that we log, ever
holds it; what Apprise has to say is passed on only after the parts of the URL are taken out.
"""

import logging
import queue
import re
import threading
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from spoils.errors import SpoilsError

_THREAD = "notification"
_SCHEME = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]{0,31}(?=://)")
_ANY_URL = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*://\S*")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_HIDDEN = "***"
_LONGEST_REASON = 300
# With the others, such as tgram://<token>/<chat>, the place of the host holds a secret too.
_HOST_IS_NO_SECRET = {"mailto", "mailtos", "json", "jsons", "xml", "xmls", "form", "forms"}
# These write a request's whole path at DEBUG, and for many services the path holds the token.
_TALKATIVE = ("urllib3.connectionpool", "requests_oauthlib.oauth1_auth", "requests_oauthlib.oauth2_session")

# What Apprise last said, thread by thread.
_heard = threading.local()


class NotificationRefused(SpoilsError):
    """The notification was not delivered."""


def deliver(url: str, *, title: str, body: str, deadline_seconds: float = 30.0) -> None:
    """Deliver one notification within the deadline, or raise NotificationRefused with the reason.

    After the deadline the attempt may still end either way: what is sent late is sent.
    """
    outcome: queue.SimpleQueue[NotificationRefused | None] = queue.SimpleQueue()

    def attempt() -> None:
        try:
            outcome.put(_attempt(url, title, body, deadline_seconds))
        except Exception as exc:  # noqa: BLE001 - a plugin's own fault, of any kind; its words may quote the URL
            outcome.put(
                NotificationRefused(f"The {_kind(url)} notification failed with {type(exc).__name__}.")
            )

    # Apprise's timeouts are per read: a server that drips is left behind, in a thread of its own.
    threading.Thread(target=attempt, daemon=True, name=_THREAD).start()
    try:
        refused = outcome.get(timeout=deadline_seconds)
    except queue.Empty:
        refused = NotificationRefused(
            f"The {_kind(url)} notification was not delivered within {deadline_seconds:g} s."
        )
    if refused is not None:
        raise refused


def check_url(url: str) -> str | None:
    """Tell in a sentence what is wrong with a notification URL; None where Apprise understands it."""
    _quiet()
    return _not_understood(url) if _service(url) is None else None


def without_secrets(text: str, url: str) -> str:
    """Take out of a text every part of this URL that may be a secret, and any other URL."""
    text = _ANY_URL.sub(_HIDDEN, text.replace(url, _HIDDEN) if url else text)
    pieces = sorted({piece for piece in _pieces(url) if piece}, key=len, reverse=True)
    if pieces:
        alternatives = "|".join(map(re.escape, pieces))
        # Short ones only as words of their own: the password "a" must not make holes in all of them.
        text = re.sub(rf"(?<!\w)(?:{alternatives})(?!\w)", _HIDDEN, text, flags=re.IGNORECASE)
        for piece in pieces:
            if len(piece) > 3:
                text = re.sub(re.escape(piece), _HIDDEN, text, flags=re.IGNORECASE)
    # A server's words end in our log: no line break or terminal code of its making may get there.
    return " ".join(_CONTROL.sub(" ", text).split())[:_LONGEST_REASON]


def _attempt(url: str, title: str, body: str, deadline_seconds: float) -> NotificationRefused | None:
    _quiet()
    service = _service(url)
    if service is None:
        return NotificationRefused(_not_understood(url))
    # Every single wait is shorter than the deadline, so that a thread left behind ends soon after it.
    service.socket_connect_timeout = min(service.socket_connect_timeout, deadline_seconds)
    service.socket_read_timeout = min(service.socket_read_timeout, deadline_seconds)
    if service.notify(title=title, body=body):
        return None
    reason = without_secrets(_heard.last, url).rstrip(".")
    because = f": {reason}" if reason else ""
    return NotificationRefused(f"The {_kind(url)} notification was not delivered{because}.")


def _service(url: str) -> Any:
    # Imported here: it takes a quarter of a second and memory that only this job needs.
    from apprise import Apprise  # noqa: PLC0415

    return Apprise.instantiate(url)


def _not_understood(url: str) -> str:
    if not url.strip():
        return "The notification URL is empty."
    return f"The {_kind(url)} notification URL is not understood."


def _kind(url: str) -> str:
    scheme = _SCHEME.match(url)
    return f"{scheme.group().lower()}://" if scheme else "configured"


def _pieces(url: str) -> Iterator[str]:
    try:
        split = urlsplit(url)
    except ValueError:
        yield from re.split(r"[/?&=:@]+", url)
        return
    credentials, _, host = split.netloc.rpartition("@")
    secrets = [*credentials.split(":"), *split.path.split("/"), split.fragment, credentials]
    secrets += [value for _, value in parse_qsl(split.query)]
    if split.scheme.lower() not in _HOST_IS_NO_SECRET:
        secrets += [host, host.partition(":")[0]]
    for secret in secrets:
        yield secret
        yield unquote(secret)


def _quiet() -> None:
    """Keep what Apprise logs to ourselves: it quotes URLs, tokens and all, where it cannot read them."""
    _heard.last = ""
    logging.getLogger("apprise").setLevel(logging.WARNING)
    logging.getLogger("apprise").addFilter(_hear)
    for name in _TALKATIVE:
        logging.getLogger(name).addFilter(_not_of_a_notification)


def _hear(record: logging.LogRecord) -> bool:
    _heard.last = record.getMessage()
    return False


def _not_of_a_notification(_record: logging.LogRecord) -> bool:
    # Not by the record, which names no thread in our programs (spoils/log_format.py).
    return threading.current_thread().name != _THREAD
