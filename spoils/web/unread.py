"""What a client gets whose request could not be read: gunicorn answers it, before the application sees any of it."""

import json
from http import HTTPStatus
from typing import Any

from gunicorn.http import errors

from spoils.web.headers import ALWAYS


def answer_to(error: Exception, config: Any) -> tuple[HTTPStatus, bytes]:
    """The status that says what is wrong with a request, and the whole answer that says so in a sentence.

    `error` is what gunicorn's parser raised, `config` gunicorn's own. The answer has the form that the API's errors
    have, for nothing is known of a client whose request cannot be read.
    """
    status, sentence = _verdict(error, config)
    body = json.dumps({"error": sentence}).encode()
    headers = {
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
        "Connection": "close",
        "Cache-Control": "no-store",
        **ALWAYS,
    }
    lines = [
        f"HTTP/1.1 {status.value} {status.phrase}",
        *(f"{name}: {value}" for name, value in headers.items()),
    ]
    return status, "\r\n".join([*lines, "", ""]).encode("ascii") + body


def _verdict(error: Exception, config: Any) -> tuple[HTTPStatus, str]:
    if isinstance(error, errors.LimitRequestLine):
        longest = config.limit_request_line
        return HTTPStatus.REQUEST_URI_TOO_LONG, f"The address is too long: at most {longest} bytes are taken."
    if isinstance(error, errors.LimitRequestHeaders):
        most, longest = config.limit_request_fields, config.limit_request_field_size
        return (
            HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
            f"The headers are too many or too long: at most {most} of {longest} bytes each are taken.",
        )
    if isinstance(error, errors.ExpectationFailed):
        return HTTPStatus.EXPECTATION_FAILED, "Nothing can be expected here but 100-continue."
    if isinstance(error, errors.UnsupportedTransferCoding):
        return HTTPStatus.NOT_IMPLEMENTED, "Of transfer encodings only chunked is understood."
    if _is_the_client_s(error):
        return HTTPStatus.BAD_REQUEST, "This is no HTTP request that can be read."
    return HTTPStatus.INTERNAL_SERVER_ERROR, "Something went wrong here. It is in the log."


def _is_the_client_s(error: Exception) -> bool:
    ours = (errors.ConfigurationProblem, errors.InvalidResponseHeader, errors.InvalidResponseHeaderName)
    return isinstance(error, errors.ParseException) and not isinstance(error, ours)
