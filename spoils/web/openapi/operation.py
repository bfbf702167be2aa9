"""What a view function says about itself for the OpenAPI document. Its docstring is the summary and the description."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pydantic import BaseModel

from spoils.queue.api_tokens import Scope
from spoils.web.openapi.schemas import Anything

View = TypeVar("View", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one path. Errors that every operation can answer are not listed here."""

    response: type[BaseModel] = Anything
    """The body of status 200."""
    description: str = "OK"
    """When the response is sent."""
    media_type: str = "application/json"
    """That of the response of status 200."""
    tag: str = "Jobs"
    arguments: type[BaseModel] | None = None
    """The query string."""
    body: Mapping[str, type[BaseModel]] = field(default_factory=dict)
    """The request body by content type."""
    errors: tuple[int, ...] = ()
    error_models: Mapping[int, type[BaseModel]] = field(default_factory=dict)
    """Errors whose body has more than `Error`."""
    path: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """The schemas of parameters in the path, with their descriptions."""
    location: bool = False
    """Whether the response carries a `Location` header."""
    open: bool = False
    """Whether it needs no token while the server has none."""
    scope: Scope | None = None
    """The scope that a token needs; None is `read` for a GET and `admin` for any other method."""
    public: bool = False
    """Whether it never needs a token and has no rate limit."""

    def scope_for(self, method: str) -> Scope:
        """The scope that a token needs for a call by this method."""
        return self.scope or (Scope.READ if method.upper() in ("GET", "HEAD", "OPTIONS") else Scope.ADMIN)


def operation(response: type[BaseModel], description: str = "OK", **more: Any) -> Callable[[View], View]:
    """Describe a view function; `more` are the other fields of `Operation`."""

    def describe(view: View) -> View:
        view.operation = Operation(response, description, **more)  # type: ignore[attr-defined]
        return view

    return describe


def operation_of(view: Callable[..., Any]) -> Operation:
    """The description of a view function; a plain one where it has none."""
    found: Operation = getattr(view, "operation", Operation())
    return found
