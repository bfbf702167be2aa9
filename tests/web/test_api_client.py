"""The client that docs/api.md shows does what it says against a real server."""

import re
from pathlib import Path
from typing import Any

import pytest

from tests.programs import Web, worker
from tests.rows import Rows

pytestmark = pytest.mark.process
PAGE = Path(__file__).resolve().parents[2] / "docs" / "api.md"


def test_the_client_enqueues_and_waits(database_url: str, rows: Rows) -> None:
    source = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)[0]
    there: dict[str, Any] = {"__name__": "client"}
    exec(compile(source, "docs/api.md", "exec"), there)
    with Web(database_url, SPOILS_API_TOKEN="t0ken") as web:
        spoils = there["Spoils"](web.url, "t0ken")
        job = spoils.enqueue("AnalyzeIngredientsJob", {"product_id": 7})
        assert spoils.enqueue("AnalyzeIngredientsJob", {"product_id": 7}) == there["Enqueued"](
            job.id, "new", True
        )
        with pytest.raises(there["SpoilsError"], match="product_id") as refused:
            spoils.enqueue("AnalyzeIngredientsJob", {"product_id": "7"})
        assert refused.value.status == 422
        assert spoils.wait(job.id, 0)["state"] == "new"
        with worker(database_url):
            assert spoils.wait(job.id, 60)["state"] == "failed"  # there is no product 7
    assert rows.value("SELECT count(*) FROM fang_tasks WHERE task_type = 'analyze_ingredients'") == 1
