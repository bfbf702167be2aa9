"""The page of the API, for people."""

from flask import current_app, render_template, request
from flask.typing import ResponseReturnValue

from spoils.web.dashboard.api_docs.view import show_api, show_errors
from spoils.web.dashboard.blueprint import bp
from spoils.web.errors import DOCS
from spoils.web.openapi import make_document


@bp.get(DOCS)
def api_docs() -> ResponseReturnValue:
    """Every endpoint with its arguments, its body and its answers."""
    document = make_document(current_app)
    return render_template(
        "api_docs/index.html",
        about=document["info"],
        groups=show_api(document, request.host_url.rstrip("/")),
        errors=show_errors(document),
    )
