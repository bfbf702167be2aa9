"""Pages in a browser, with what their consoles reported."""

import os
from collections.abc import Iterable, Iterator

from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Request

EVERY_COMBINATION = bool(os.environ.get("SPOILS_EVERY_BROWSER_COMBINATION"))
"""Whether to try every width with every theme and every payload, which takes minutes."""


class Windows:
    """Opens pages of one dashboard; those of the same kind of visitor share a context."""

    def __init__(self, browser: Browser, url: str) -> None:
        self._browser, self._url = browser, url
        self._contexts: dict[tuple[object, ...], BrowserContext] = {}
        self.complaints: list[str] = []

    def open(
        self,
        path: str,
        *,
        width: int = 1440,
        scheme: str = "light",
        scripts: bool = True,
        zone: str = "UTC",
        credentials: tuple[str, str] | None = None,
    ) -> Page:
        """The page at `path`; errors, refused loads and policy violations go to `complaints`."""
        kind = (width, scheme, scripts, zone, credentials)
        if kind not in self._contexts:
            self._contexts[kind] = self._browser.new_context(
                viewport={"width": width, "height": 900},
                color_scheme="dark" if scheme == "dark" else "light",
                java_script_enabled=scripts,
                timezone_id=zone,
                http_credentials={"username": credentials[0], "password": credentials[1]}
                if credentials
                else None,
            )
            self._contexts[kind].set_default_timeout(20_000)
        page = self._contexts[kind].new_page()
        page.on("console", self._heard)
        page.on("pageerror", lambda error: self.complaints.append(f"{page.url}: {error}"))
        page.on("requestfailed", self._failed)
        page.goto(self._url + path)
        return page

    def visit(self, paths: Iterable[str], *, width: int = 1440, scheme: str = "light") -> Iterator[Page]:
        """Each of these pages in turn, in one tab."""
        page: Page | None = None
        for path in paths:
            if page is None:
                page = self.open(path, width=width, scheme=scheme)
            else:
                page.goto(self._url + path)
            yield page

    def close(self) -> None:
        for context in self._contexts.values():
            context.close()

    def _failed(self, request: Request) -> None:
        # A refresh or an icon that is still loading when the page is left.
        aborted = "ERR_ABORTED" in (request.failure or "")
        if not (aborted and (request.resource_type == "fetch" or request.url.endswith("mark.svg"))):
            self.complaints.append(f"{request.url} failed: {request.failure}")

    def _heard(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(f"{message.location['url']}: {message.text}")
