"""The JSON API."""

from flask import Flask


def init_app(app: Flask) -> None:
    """Mount it on `app`."""
