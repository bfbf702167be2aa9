"""The page of the API."""

from flask import current_app, render_template, request
from flask.typing import ResponseReturnValue

from spoils.web.dashboard.api_docs.view import list_endpoints, list_errors
from spoils.web.dashboard.blueprint import bp
from spoils.web.errors import DOCS
from spoils.web.openapi import make_document


@bp.get(DOCS)
def api_docs() -> ResponseReturnValue:
    """Every endpoint with its arguments, its body and its responses."""
    document = make_document(current_app)
    return render_template(
        "api_docs/index.html",
        info=document["info"],
        groups=list_endpoints(document, request.url_root.rstrip("/")),
        errors=list_errors(document),
    )
