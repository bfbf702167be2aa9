"""The JSON API."""

from flask import Blueprint, Flask, Response

from spoils.web.api import health, jobs, products, tokens, why

api = Blueprint("api", __name__)
api.register_blueprint(jobs.routes)
api.register_blueprint(products.routes)
api.register_blueprint(why.routes)
api.register_blueprint(health.routes)
api.before_request(tokens.check)


@api.after_request
def _no_store(response: Response) -> Response:
    response.headers["Cache-Control"] = "no-store"
    return response


def init_app(app: Flask) -> None:
    """Mount it on `app`."""
    app.register_blueprint(api)
