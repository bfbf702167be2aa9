"""Static files go over the wire compressed. Pages do not: with a secret token in them, their length would tell it."""

import gzip
from functools import lru_cache

from flask import Response, request

WORTH = ("text/css", "text/javascript", "application/javascript", "image/svg+xml")


def compress(response: Response) -> Response:
    """The answer to a request for a static file, compressed where that is worth it and the client takes it."""
    if response.mimetype not in WORTH or response.status_code != 200:
        return response
    response.vary.add("Accept-Encoding")
    if request.method == "GET" and request.accept_encodings["gzip"] > 0:
        response.direct_passthrough = False
        response.set_data(_compressed(response.get_data()))
        response.headers["Content-Encoding"] = "gzip"
        response.headers.pop("ETag", None)
    return response


@lru_cache(maxsize=32)
def _compressed(data: bytes) -> bytes:
    return gzip.compress(data, 9, mtime=0)
