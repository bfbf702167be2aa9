"""Whether the service can serve."""

from flask import Blueprint, jsonify
from flask.typing import ResponseReturnValue
from sqlalchemy import text

from spoils.models import db

routes = Blueprint("health", __name__)


@routes.get("/health")
def health() -> ResponseReturnValue:
    """200 while the database answers; the error handler makes 503 of it when it does not."""
    db.session.execute(text("SELECT 1"))
    return jsonify({"status": "ok"})
