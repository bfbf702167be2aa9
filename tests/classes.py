"""Job classes that live as long as one test: a class registers itself for good."""

from collections.abc import Iterator
from contextlib import contextmanager

from spoils.job.registry import registry


@contextmanager
def throw_away_classes() -> Iterator[None]:
    """Take back out of the registry what is defined meanwhile."""
    names, endpoints = dict(registry._by_name), dict(registry._by_endpoint)
    try:
        yield
    finally:
        registry._by_name, registry._by_endpoint = names, endpoints
