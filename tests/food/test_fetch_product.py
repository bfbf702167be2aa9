"""The job that fetches a product, against servers whose answer never ends."""

import pytest

from spoils.jobs.fetch_product import FetchProductJob
from tests import upstream as bad
from tests.programs import Program
from tests.rows import Rows
from tests.support import eventually
from tests.upstream import Upstream

ENDLESS = {
    "11111111": bad.hang(),
    "22222222": bad.drip_headers(),
    "33333333": bad.drip_body(),
    "44444444": bad.drip_unbounded_body(),
    "55555555": bad.redirect_with_endless_body("/api/v2/product/22222222"),
}


def test_a_fetch_may_take_15_seconds() -> None:
    assert FetchProductJob.timeout == 15


@pytest.mark.process
def test_a_server_that_drips_is_cut_by_the_timeout_of_the_job_and_asked_again_later(
    database_url: str, rows: Rows
) -> None:
    with Upstream() as upstream:
        for code, behaviour in ENDLESS.items():
            upstream.always(code, behaviour)
            rows.task(task_type="impatient_fetch", metadata={"type": "ImpatientFetchJob", "barcode": code})
        environment = {
            "DATABASE_URL": database_url,
            "OPENFOODFACTS_URL": upstream.url,
            "SPOILS_JOBS": "tests.food.impatient",
        }
        with Program("worker.py", **environment):

            def cut() -> None:
                states = rows.all("SELECT state::text, retries FROM fang_tasks")
                assert states == [("retried", 1)] * len(ENDLESS)

            eventually(cut, 20)
    assert rows.all("SELECT DISTINCT outcome FROM spoils_attempts") == [("timed_out",)]
    assert rows.value("SELECT count(*) FROM products") == 0
