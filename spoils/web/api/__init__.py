"""The JSON API."""

import logging

from flask import Blueprint, Flask, Response, abort, request

from spoils.config import Settings
from spoils.web.api import (  # noqa: F401 - the routes register themselves
    actions,
    batches,
    blueprint,
    enqueue,
    health,
    limits,
    metrics,
    read,
    schedules,
    status,
    tokens,
    why,
)
from spoils.web.csrf import foreign

log = logging.getLogger("spoils.web")

OPEN = (
    "No SPOILS_API_TOKEN is set: any client can read the status, enqueue jobs of classes with `open = True`, "
    "and call whatever else the API's document marks as open."
)
FOREIGN = "The request came from a page of another site. Nothing was changed."

api = Blueprint("api", __name__)
api.register_blueprint(blueprint.routes)
api.register_blueprint(why.routes)
api.register_blueprint(batches.routes)
api.register_blueprint(schedules.routes)
api.register_blueprint(health.routes)
api.register_blueprint(metrics.routes)
api.before_request(tokens.identify)
api.before_request(limits.check_rate)
api.before_request(tokens.check)


@api.before_request
def _not_foreign() -> None:
    if request.method not in ("GET", "HEAD", "OPTIONS") and foreign(request):
        abort(403, FOREIGN)


api.before_request(limits.check_depth)


@api.after_request
def _no_store(response: Response) -> Response:
    response.headers.setdefault("Cache-Control", "no-store")
    return response


def init_app(app: Flask) -> None:
    """Register the API in `app`."""
    limits.init_app(app)
    settings: Settings = app.config["SPOILS"]
    open_to_all = not settings.api_tokens and not settings.development
    if open_to_all:
        log.warning(OPEN, extra={"action": "start"})
    app.context_processor(lambda: {"api_is_open": open_to_all})
    app.register_blueprint(api)
