"""Adds the pages and endpoints of the food service to the web program."""

from spoils.food import api as endpoints
from spoils.food.dashboard import routes  # noqa: F401 - the pages register themselves
from spoils.web.api import api

api.register_blueprint(endpoints.routes)
