"""The web program. `gunicorn app:app` in production, `python app.py` for development on loopback."""

from spoils.cli.web import development_app, production_app

if __name__ == "__main__":
    development_app()
else:
    app = production_app()
