"""The examples of docs/flow.md for limits and holds, performed as they stand there."""

from contextlib import closing
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import Engine

from spoils import Client
from spoils.db.engine import transaction
from spoils.job import Job
from spoils.queue.claim_limited import claim_limited
from spoils.queue.limits import publish
from spoils.testing import drain, perform
from tests.classes import throw_away_classes
from tests.documents import blocks
from tests.rows import Rows


def classes_of(block: Any, **names: Any) -> dict[str, Any]:
    """Run a block of the document; the classes that it defines."""
    space = {"__name__": "flow", **names}
    exec(compile(block.text, str(block), "exec"), space)
    return {name: one for name, one in space.items() if isinstance(one, type) and issubclass(one, Job)}


@pytest.fixture
def limits_block() -> Any:
    return next(one for one in blocks("docs/flow.md") if "Concurrency(2" in one.text)


@pytest.fixture
def hold_block() -> Any:
    return next(one for one in blocks("docs/flow.md") if "hold=True" in one.text)


def test_the_limits_of_the_example(
    limits_block: Any, engine: Engine, rows: Rows, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", database_url)
    with throw_away_classes(), closing(Client(database_url)) as client:
        made = classes_of(limits_block)
        with transaction(engine) as connection:
            publish(connection, [made["SendMail"], made["TrainModel"]])
        client.enqueue_many([made["SendMail"](user_id=user, shop="a") for user in (1, 1, 1, 2)])
        client.enqueue_many([made["TrainModel"]() for _ in range(5)])
        found = claim_limited(
            rows.connection,
            worker_id=rows.worker(),
            task_types=["send_mail", "train_model"],
            kinds=["SendMail", "TrainModel"],
            limit=100,
        )
        types = [one.task_type for one in found.claims]
        assert (types.count("send_mail"), types.count("train_model")) == (3, 4)
        assert len(drain(client)) == 2


@pytest.mark.parametrize("status", [200, 429])
def test_the_hold_of_the_example(status: int, hold_block: Any) -> None:
    answer = SimpleNamespace(status_code=status, headers={"Retry-After": "30"})
    with throw_away_classes():
        made = classes_of(hold_block, shop_api=SimpleNamespace(get=lambda product: answer))
        performed = perform(made["FetchPrice"](product="tea"))
    assert performed.outcome == ("finished" if status == 200 else "retried")
