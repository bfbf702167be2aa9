"""Job classes and around functions that live as long as one test: each registers itself for good."""

from collections.abc import Iterator
from contextlib import contextmanager

from spoils.job import hooks
from spoils.job.registry import registry


@contextmanager
def throw_away_classes() -> Iterator[None]:
    """Remove what is registered meanwhile."""
    names, endpoints = dict(registry._by_name), dict(registry._by_endpoint)
    functions, async_functions = list(hooks.functions), list(hooks.async_functions)
    try:
        yield
    finally:
        registry._by_name, registry._by_endpoint = names, endpoints
        hooks.functions[:], hooks.async_functions[:] = functions, async_functions
