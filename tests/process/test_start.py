"""What a program does before its work begins."""

import logging
import os
from types import SimpleNamespace

import pytest

from spoils.cli import start
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


def test_it_tries_a_database_that_is_away_every_other_second_however_long_and_logs_that_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    pauses: list[float] = []

    def select(reads: list[int], _writes: list[int], _errors: list[int], pause: float) -> tuple[list[int]]:
        pauses.append(pause)
        return (reads if len(pauses) == 8 else [],)

    monkeypatch.setattr(start, "select", SimpleNamespace(select=select))
    engine = starting_engine(f"postgresql://nobody@127.0.0.1:{free_port()}/nothing")
    with caplog.at_level(logging.WARNING, logger="spoils"), pytest.raises(DatabaseAway):
        await_schema(engine, parent=0)
    engine.dispose()
    assert len(pauses) == 8
    assert max(pauses) <= 2
    assert caplog.text.count("does not answer yet") == 1
