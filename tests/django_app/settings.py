"""Its settings, with the database of DATABASE_URL."""

import os

from sqlalchemy import make_url

_url = make_url(os.environ["DATABASE_URL"])
SECRET_KEY = "of-the-tests"
USE_TZ = True
INSTALLED_APPS = ["tests.django_app"]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": _url.database,
        "USER": _url.username or "",
        "PASSWORD": _url.password or "",
        "HOST": _url.query.get("host", _url.host) or "",
        "PORT": _url.port or _url.query.get("port", ""),
    }
}
TASKS = {
    "default": {"BACKEND": "spoils.django.Backend", "QUEUES": ["default", "mails"]},
    "strict": {
        "BACKEND": "spoils.django.Backend",
        "OPTIONS": {"job": "tests.django_app.jobs.StrictTask", "database": "default"},
    },
}
