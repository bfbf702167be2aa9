"""What a program does before its work begins."""

import os

import pytest

from spoils.cli.start import await_schema, starting_engine
from spoils.errors import DatabaseAway
from tests.programs import free_port


def test_a_child_that_waits_for_the_database_ends_with_its_parent() -> None:
    engine = starting_engine(f"postgresql://nobody@127.0.0.1:{free_port()}/nothing")
    life, held = os.pipe()
    os.close(held)
    try:
        with pytest.raises(DatabaseAway, match="parent process has ended"):
            await_schema(engine, parent=life)
    finally:
        os.close(life)
        engine.dispose()
