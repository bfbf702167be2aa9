"""The version of a page: an ETag by which a refresh that finds nothing new costs a 304.

It is made from what the page shows, from its address and from its viewer. Left out are what differs each time though
nothing has changed: the tokens of forms, and ages, which the page's own script lets grow.
"""

import hashlib
import re

from flask import Response, request, session

_TOKEN = re.compile(r'(name="csrf_token" value=")[^"]*')
_TIME = re.compile(r'<time (datetime="[^"]*")[^>]*>.*?</time>', re.DOTALL)
_SEEN = re.compile(r'<span class="seen">.*?</time>', re.DOTALL)
_AGE = re.compile(r"(<[^>]* data-age)>[^<]*")


def mark(response: Response) -> Response:
    """Give a whole page its ETag, and answer 304 where the client has it."""
    if request.method != "GET" or response.status_code != 200 or response.mimetype != "text/html":
        return response
    response.set_etag(version(response.get_data(as_text=True)), weak=True)
    response.vary.add("Cookie")
    response.make_conditional(request)
    return response


def version(page: str) -> str:
    """The version of this text for this address and viewer."""
    lasting = _AGE.sub(r"\1", _TIME.sub(r"\1", _SEEN.sub("", _TOKEN.sub(r"\1", page))))
    viewer = f"{session.get('role')} {session.get('csrf_token')}"
    return hashlib.sha256(f"{request.full_path}\0{viewer}\0{lasting}".encode(errors="replace")).hexdigest()[
        :32
    ]
