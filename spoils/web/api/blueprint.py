"""The blueprint that the endpoints of jobs hang on."""

from flask import Blueprint

routes = Blueprint("jobs", __name__, url_prefix="/api/jobs")
