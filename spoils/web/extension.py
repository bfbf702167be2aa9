"""What a service that runs on this queue adds to the web program: pages, endpoints, and the words that name them."""

from dataclasses import dataclass

from flask import Blueprint, Flask


@dataclass(frozen=True, slots=True)
class Link:
    """A link of the navigation."""

    text: str
    endpoint: str


@dataclass(frozen=True, slots=True)
class FirstJob:
    """The job that the first steps suggest: what it does, its endpoint, and a payload in JSON."""

    text: str
    endpoint: str
    payload: str


@dataclass(frozen=True, slots=True)
class Extension:
    """Everything that `create_app` needs to know about such a service."""

    pages: Blueprint
    """Becomes part of the dashboard: the guard stands before its routes."""
    api: Blueprint
    """Becomes part of the API: tokens and limits apply to its routes."""
    links: tuple[Link, ...]
    first_job: FirstJob


def init_app(app: Flask, extensions: tuple[Extension, ...]) -> None:
    """Mount `extensions` on `app`, after the dashboard and the API."""
    for extension in extensions:
        # On this application alone: the parent blueprints are shared by all applications of the process.
        app.register_blueprint(extension.pages, name_prefix="dashboard")
        app.register_blueprint(extension.api, name_prefix="api")
    app.jinja_env.globals["extension_links"] = [link for each in extensions for link in each.links]
    app.jinja_env.globals["first_job"] = next((each.first_job for each in extensions), None)
