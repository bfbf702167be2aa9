"""The blueprint of all pages."""

from flask import Blueprint

from spoils.web.dashboard import etags

bp = Blueprint("dashboard", __name__)
bp.after_request(etags.add_etag)
