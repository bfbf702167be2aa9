"""gunicorn reads this by itself: `gunicorn app:app` serves as `python -m spoils web` does."""

from spoils.cli.gunicorn_conf import *  # noqa: F403
