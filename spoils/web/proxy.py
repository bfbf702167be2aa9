"""Who the client is and how it came, where a proxy stands between: told by the proxies that we trust alone."""

import ipaddress
from collections.abc import Iterable
from typing import TYPE_CHECKING

from flask import Flask, abort, request

from spoils.config import Settings

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

WRONG_HOST = "This server is not known by that name. Its names are in SPOILS_HOSTS."


class Proxies:
    """Whose word counts: addresses, networks, or `*` for anybody's."""

    def __init__(self, proxies: Iterable[str]) -> None:
        told = list(proxies)
        self.any = "*" in told
        self._networks = [ipaddress.ip_network(one) for one in told if one != "*"]

    def trust(self, text: str) -> bool:
        """Whether this address is one of theirs."""
        if self.any:
            return True
        address = _address(text)
        return address is not None and any(address in network for network in self._networks)


class ClientAddress:
    """Puts the client's address in the place of the proxy's, as WSGI middleware.

    Each proxy adds to the end of X-Forwarded-For whom it heard, so the list is read from its end, up to the first
    address that is no proxy of ours; what stands before it anybody may have written.
    """

    def __init__(self, app: "WSGIApplication", proxies: Iterable[str]) -> None:
        self._app = app
        self._proxies = Proxies(proxies)

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        peer = environ.get("REMOTE_ADDR", "")
        if (told := environ.get("HTTP_X_FORWARDED_FOR")) and self._proxies.trust(peer):
            environ["REMOTE_ADDR"] = self._client(told.split(",")) or peer
        return self._app(environ, start_response)

    def _client(self, told: list[str]) -> str | None:
        found = None
        for text in reversed(told):
            address = _address(text)
            if address is None:
                break
            found = str(address)
            # Where any peer is trusted, as on Heroku, there is one proxy, and the last address is whom it heard.
            if self._proxies.any or not self._proxies.trust(found):
                break
        return found


def init_app(app: Flask) -> None:
    """Put both before all else of `app`. In development no proxy stands between, and none is believed."""
    settings: Settings = app.config["SPOILS"]
    if not settings.development:
        app.wsgi_app = ClientAddress(app.wsgi_app, settings.proxies)  # type: ignore[method-assign]

    @app.before_request
    def _known_by_that_name() -> None:
        # Whoever asks whether this process lives may have only its number.
        if (
            settings.hosts
            and request.endpoint != "api.health.health"
            and not named(request.host, settings.hosts)
        ):
            abort(400, WRONG_HOST)


def named(host: str, hosts: tuple[str, ...]) -> bool:
    """Whether a request's Host, a port aside, is one of ours."""
    host = host.lower()
    name = host[: host.find("]") + 1] if host.startswith("[") else host.partition(":")[0]
    return any(name == one or (one.startswith(".") and name.endswith(one)) for one in hosts)


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(text.strip())
    except ValueError:
        return None
    return address.ipv4_mapped or address if address.version == 6 else address
