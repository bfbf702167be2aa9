"""The client of a request: its address for rate limits, and whether it is this machine."""

import ipaddress

from flask import Request, request

_FORWARDING = ("Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-IP")


def client() -> str:
    """The address of the client. An IPv6 client owns a whole /64 network, so the network stands for it."""
    given = request.remote_addr or "unknown"
    try:
        address = ipaddress.ip_address(given)
    except ValueError:
        return given
    return str(ipaddress.ip_network((address, 64), strict=False)) if address.version == 6 else given


def from_here(asked: Request) -> bool:
    """Whether this request comes from this machine and names it as localhost or a loopback address.

    The name matters: a web page can point its own host name at 127.0.0.1 (DNS rebinding) and read the responses. A
    tunnel that ends on this machine may rewrite the host to "localhost", but adds a forwarding header.
    """
    if any(name in asked.headers for name in _FORWARDING):
        return False
    host = asked.host.rpartition(":")[0] if not asked.host.endswith("]") and ":" in asked.host else asked.host
    return _loopback(asked.remote_addr or "") and (host.lower() == "localhost" or _loopback(host.strip("[]")))


def _loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False
