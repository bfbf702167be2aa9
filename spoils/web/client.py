"""Whom a limit counts: a client's address, or of IPv6 its network."""

import ipaddress

from flask import request


def client() -> str:
    """The client of this request. Of IPv6 everybody has a whole network of 64 bits, so that is one client."""
    given = request.remote_addr or "unknown"
    try:
        address = ipaddress.ip_address(given)
    except ValueError:
        return given
    return str(ipaddress.ip_network((address, 64), strict=False)) if address.version == 6 else given
