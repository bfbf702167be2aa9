"""The OpenAPI document, for programs; people read it as a page of the dashboard."""

from flask import Blueprint, Response, current_app, jsonify, request

from spoils.web.api import tokens
from spoils.web.api.openapi import make_document
from spoils.web.dashboard import access

routes = Blueprint("document", __name__)


@routes.get("/openapi.json")
def openapi() -> Response:
    """The OpenAPI 3.1 document of this API, for who has a token, or may see the page that is made of it."""
    if not tokens.caller().known and access.current_role() is None:
        raise tokens.unauthorized()
    response = jsonify(make_document(current_app))
    response.headers["Cache-Control"] = "private, no-cache"
    response.add_etag()
    response.make_conditional(request)
    return response
