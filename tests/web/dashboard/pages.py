"""Visiting pages through the client: reading their words, and pressing their buttons."""

import re
from html import unescape
from html.parser import HTMLParser

from flask.testing import FlaskClient
from werkzeug.test import TestResponse

_TOKEN = re.compile(r'name="csrf_token" value="([^"]+)"')


class _Words(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.words: list[str] = []

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def words(response: TestResponse) -> str:
    """The text of a page, white space folded."""
    parser = _Words()
    parser.feed(response.text)
    return " ".join(" ".join(parser.words).split())


def links(response: TestResponse) -> list[str]:
    """Where the links of a page lead."""
    return [unescape(target) for target in re.findall(r'<a [^>]*href="([^"]*)"', response.text)]


def actions(response: TestResponse) -> list[str]:
    """Where the forms of a page that change something are sent."""
    return [unescape(target) for target in re.findall(r'<form method="post" action="([^"]*)"', response.text)]


class Visitor:
    """Somebody at the dashboard."""

    def __init__(self, client: FlaskClient, root: str = "") -> None:
        self.client, self.root = client, root

    def see(self, path: str, status: int = 200) -> TestResponse:
        """Get a page, which answers with `status`."""
        response = self.client.get(self.root + path)
        assert response.status_code == status, words(response)
        return response

    def token(self) -> str:
        """A form's token of this session."""
        for path in ("/login", "/products", "/jobs"):
            if found := _TOKEN.search(self.client.get(self.root + path, follow_redirects=True).text):
                return found[1]
        raise AssertionError("no page has a form")

    def press(self, path: str, **fields: str) -> TestResponse:
        """Send a form with a token, as a button does; redirects are not followed."""
        return self.client.post(self.root + path, data={"csrf_token": self.token(), **fields})

    def log_in(self, password: str, **fields: str) -> "Visitor":
        response = self.press("/login", password=password, **fields)
        assert response.status_code == 303, words(response)
        return self
