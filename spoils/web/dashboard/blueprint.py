"""The blueprint that every page hangs on."""

from flask import Blueprint

bp = Blueprint("dashboard", __name__)
