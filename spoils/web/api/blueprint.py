"""The blueprint of the endpoints under /api/jobs."""

from flask import Blueprint

routes = Blueprint("jobs", __name__, url_prefix="/api/jobs")
