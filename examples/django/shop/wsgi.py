"""The shop, with the dashboard of the queue at /queue for its staff."""

import os

import spoils.web
from django.conf import settings
from django.contrib.auth import get_user
from django.contrib.sessions.backends.db import SessionStore
from django.core.wsgi import get_wsgi_application
from django.db import close_old_connections
from django.http import HttpRequest
from flask import Request
from werkzeug.middleware.dispatcher import DispatcherMiddleware

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")
shop = get_wsgi_application()


def authorize(asked: Request) -> tuple[str, str] | None:
    """What the dashboard lets a user of Django do: a superuser may act, other staff may read."""
    request = HttpRequest()
    request.session = SessionStore(asked.cookies.get(settings.SESSION_COOKIE_NAME))
    try:
        user = get_user(request)
    finally:
        close_old_connections()  # Django does this only after requests of its own
    if not user.is_active or not user.is_staff:
        return None
    return ("admin" if user.is_superuser else "viewer"), user.get_username()


queue = spoils.web.create_app(
    {"SECRET_KEY": settings.SECRET_KEY}, authorize=authorize, login_url="/admin/login/"
)
application = DispatcherMiddleware(shop, {"/queue": queue})
