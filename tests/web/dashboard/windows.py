"""Pages in a browser, with what their consoles said."""

from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Request


class Windows:
    """Opens pages of one dashboard; those of the same kind of visitor share a context."""

    def __init__(self, browser: Browser, url: str) -> None:
        self._browser, self._url = browser, url
        self._contexts: dict[tuple[object, ...], BrowserContext] = {}
        self.complaints: list[str] = []

    def open(
        self, path: str, *, width: int = 1440, scheme: str = "light", scripts: bool = True, zone: str = "UTC"
    ) -> Page:
        """The page at `path`; errors, refused loads and broken policies go to `complaints`."""
        kind = (width, scheme, scripts, zone)
        if kind not in self._contexts:
            self._contexts[kind] = self._browser.new_context(
                viewport={"width": width, "height": 900},
                color_scheme="dark" if scheme == "dark" else "light",
                java_script_enabled=scripts,
                timezone_id=zone,
            )
            self._contexts[kind].set_default_timeout(20_000)
        page = self._contexts[kind].new_page()
        page.on("console", self._heard)
        page.on("pageerror", lambda error: self.complaints.append(f"{path}: {error}"))
        page.on("requestfailed", lambda request: self._failed(path, request))
        page.goto(self._url + path)
        return page

    def close(self) -> None:
        for context in self._contexts.values():
            context.close()

    def _failed(self, path: str, request: Request) -> None:
        # A refresh that is under way when its page is left.
        if request.resource_type != "fetch" or "ERR_ABORTED" not in (request.failure or ""):
            self.complaints.append(f"{path}: {request.url} failed: {request.failure}")

    def _heard(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(message.text)
