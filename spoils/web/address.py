"""The address of a request, with the prefix that the application is mounted under."""

from flask import request


def path_here() -> str:
    """The path and the query of this request, as a link to it needs them."""
    return request.script_root + request.full_path.rstrip("?")
