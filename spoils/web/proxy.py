"""The client's address behind a proxy, from the headers of trusted proxies only; and a check of the host name."""

import ipaddress
from collections.abc import Iterable
from typing import TYPE_CHECKING

from flask import Flask, abort, request

from spoils.config import Settings

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

WRONG_HOST = "This server does not answer to that host name. SPOILS_HOSTS lists its names."


class Proxies:
    """The trusted proxies: addresses, networks, or `*` for any."""

    def __init__(self, proxies: Iterable[str]) -> None:
        given = list(proxies)
        self.any = "*" in given
        self._networks = [ipaddress.ip_network(one) for one in given if one != "*"]

    def trust(self, text: str) -> bool:
        """Whether this address is that of a trusted proxy."""
        if self.any:
            return True
        address = _address(text)
        return address is not None and any(address in network for network in self._networks)


class ClientAddress:
    """WSGI middleware that replaces the proxy's address by the client's.

    Each proxy appends the address of its own client to X-Forwarded-For, so the list is read from its end up to the
    first address that is not a trusted proxy. Anything before that may be forged.
    """

    def __init__(self, app: "WSGIApplication", proxies: Iterable[str]) -> None:
        self._app = app
        self._proxies = Proxies(proxies)

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        peer = environ.get("REMOTE_ADDR", "")
        if (forwarded := environ.get("HTTP_X_FORWARDED_FOR")) and self._proxies.trust(peer):
            environ["REMOTE_ADDR"] = self._client(forwarded.split(",")) or peer
        return self._app(environ, start_response)

    def _client(self, forwarded: list[str]) -> str | None:
        found = None
        for text in reversed(forwarded):
            address = _address(text)
            if address is None:
                break
            found = str(address)
            # If any peer is trusted, as on Heroku, there is one proxy, and the last address is its client.
            if self._proxies.any or not self._proxies.trust(found):
                break
        return found


def init_app(app: Flask) -> None:
    """Install both in `app`. In development there is no proxy, so none is trusted."""
    settings: Settings = app.config["SPOILS"]
    if not settings.development:
        app.wsgi_app = ClientAddress(app.wsgi_app, settings.proxies)  # type: ignore[method-assign]

    @app.before_request
    def _check_host() -> None:
        # A health check may know only the IP address.
        if (
            settings.hosts
            and request.endpoint != "api.health.health"
            and not named(request.host, settings.hosts)
        ):
            abort(400, WRONG_HOST)


def named(host: str, hosts: tuple[str, ...]) -> bool:
    """Whether the Host of a request, without its port, is one of `hosts`."""
    host = host.lower()
    name = host[: host.find("]") + 1] if host.startswith("[") else host.partition(":")[0]
    return any(name == one or (one.startswith(".") and name.endswith(one)) for one in hosts)


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(text.strip())
    except ValueError:
        return None
    return address.ipv4_mapped or address if address.version == 6 else address
