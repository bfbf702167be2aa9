"""The pytest plugin of Spoils. It imports Spoils only where a test asks for its fixture."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from spoils.testing.databases import Template


@pytest.fixture(scope="session")
def _spoils_template() -> "Iterator[Template]":
    from spoils.testing.databases import template  # noqa: PLC0415 - see above

    with template() as made:
        yield made


@pytest.fixture
def spoils_database(_spoils_template: "Template", monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An empty, migrated database of the test's own, which DATABASE_URL names meanwhile; its URL."""
    from spoils.job.registry import registry  # noqa: PLC0415
    from spoils.testing.databases import new_default_client  # noqa: PLC0415

    monkeypatch.setattr(registry, "compares_payloads", True)
    with _spoils_template.copy() as url:
        monkeypatch.setenv("DATABASE_URL", url)
        with new_default_client():
            yield url
