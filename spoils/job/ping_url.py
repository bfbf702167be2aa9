"""The URL that is called after a job of a schedule has finished, as a dead man's switch expects."""

from urllib.parse import urlsplit

LONGEST = 2_000
WRONG = "ping_url is a URL such as https://hc-ping.com/…, of http or https and without a user name."


def is_ping_url(url: str) -> bool:
    """Whether it can be called: without a name and a password, which a log of the other side may show."""
    if len(url) > LONGEST or not url.isascii() or not url.isprintable() or " " in url:
        return False
    try:
        parts = urlsplit(url)
        return bool(
            parts.scheme in ("http", "https") and parts.hostname and parts.port != 0 and not parts.username
        )
    except ValueError:
        return False
