"""`/openapi.json`: the OpenAPI document for programs. The dashboard shows it as a page."""

from flask import Blueprint, Response, current_app, jsonify, request

from spoils.web.api import tokens
from spoils.web.dashboard import access
from spoils.web.openapi import make_document

routes = Blueprint("document", __name__)


@routes.get("/openapi.json")
def openapi() -> Response:
    """The OpenAPI 3.1 document, for clients with a token or with a login to the dashboard."""
    if not tokens.caller().known and access.current_role() is None:
        raise tokens.unauthorized()
    response = jsonify(make_document(current_app, request.script_root))
    response.headers["Cache-Control"] = "private, no-cache"
    response.add_etag()
    response.make_conditional(request)
    return response
