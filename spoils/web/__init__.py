"""The web program: the JSON API and the dashboard, over the queue."""

from spoils.web.application import create_app

__all__ = ["create_app"]
