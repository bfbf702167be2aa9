"""The client of a request: whom a limit counts, and whether it is this machine."""

import ipaddress

from flask import Request, request

_PASSED_ON = ("Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-IP")


def client() -> str:
    """The client of this request. Of IPv6 everybody has a whole network of 64 bits, so that is one client."""
    given = request.remote_addr or "unknown"
    try:
        address = ipaddress.ip_address(given)
    except ValueError:
        return given
    return str(ipaddress.ip_network((address, 64), strict=False)) if address.version == 6 else given


def from_here(asked: Request) -> bool:
    """Whether this request comes from this machine, and was sent to it by a name of its own.

    The name matters: a page elsewhere can point a name of its own at 127.0.0.1, and then read the answers. And a tunnel
    that ends on this machine may write "localhost" for the public name that a stranger asked for; it says for whom.
    """
    if any(name in asked.headers for name in _PASSED_ON):
        return False
    host = asked.host.rpartition(":")[0] if not asked.host.endswith("]") and ":" in asked.host else asked.host
    return _loopback(asked.remote_addr or "") and (host.lower() == "localhost" or _loopback(host.strip("[]")))


def _loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False
