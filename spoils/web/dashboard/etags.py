"""The ETag of a page: a refresh that finds nothing new is answered with 304.

It depends on the content, the address and the visitor, but not on what differs in each response although nothing has
changed: the tokens of forms, and ages, which a script updates in the browser.
"""

import hashlib
import re

from flask import Response, request, session

_TOKEN = re.compile(r'(name="csrf_token" value=")[^"]*')
_TIME = re.compile(r'<time (datetime="[^"]*")[^>]*>.*?</time>', re.DOTALL)
_SEEN = re.compile(r'<span class="seen">.*?</time>', re.DOTALL)
_AGE = re.compile(r"(<[^>]* data-age)>[^<]*")


def add_etag(response: Response) -> Response:
    """Give a page its ETag, and answer 304 if the client has it."""
    if request.method != "GET" or response.status_code != 200 or response.mimetype != "text/html":
        return response
    response.set_etag(version(response.get_data(as_text=True)), weak=True)
    response.vary.add("Cookie")
    response.make_conditional(request)
    return response


def version(page: str) -> str:
    """The version of this text for this address and visitor."""
    lasting = _AGE.sub(r"\1", _TIME.sub(r"\1", _SEEN.sub("", _TOKEN.sub(r"\1", page))))
    viewer = f"{session.get('role')} {session.get('csrf_token')}"
    return hashlib.sha256(f"{request.full_path}\0{viewer}\0{lasting}".encode(errors="replace")).hexdigest()[
        :32
    ]
