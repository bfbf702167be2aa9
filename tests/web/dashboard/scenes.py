"""Queues as a dashboard may find them."""

import json
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import text

from spoils.models import PauseKind
from spoils.queue import pauses
from tests.rows import Rows

MARKUP = '"\'><script>window.hacked = 1</script><img src=x onerror="window.hacked = 1">'
LONG = "a_name_that_does_not_end_" * 10
TRACEBACK = """Traceback (most recent call last):
  File "/app/spoils/jobs/fetch_product.py", line 41, in run
    product = openfoodfacts.fetch(self.barcode)
              ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
  File "/app/.venv/lib/python3.11/site-packages/requests/sessions.py", line 602, in get
    return self.request("GET", url, **kwargs)
  File "/app/.venv/lib/python3.11/site-packages/urllib3/connectionpool.py", line 791, in urlopen
    response = self._make_request(
spoils.food.openfoodfacts.Unavailable: 503 from Open Food Facts
"""
STATES = ("new", "in_progress", "retried", "failed", "finished")
NOODLES = "0737628064502"


class Scenes(Rows):
    """Rows as before, and whole scenes of them."""

    def at_work(self, *task_types: str) -> UUID:
        """A running worker that performs these types."""
        worker_id = uuid4()
        self.connection.execute(
            text(
                "INSERT INTO spoils_workers (id, host, pid, release, task_types, threads) "
                "VALUES (:id, 'worker.1', 4, 'v143', :types, 5)"
            ),
            {"id": worker_id, "types": list(task_types)},
        )
        return worker_id

    def paused(self, task_type: str) -> None:
        """A type of which nothing is claimed."""
        pauses.pause(self.connection, PauseKind.TASK_TYPE, task_type, by="admin")

    def product(self, barcode: str = NOODLES, analysis: object = None, **columns: Any) -> int:
        """A product, with its analysis where one is given."""
        values = {"barcode": barcode, "document": "{}", **columns}
        names = ", ".join(values)
        places = ", ".join(f":{name}" for name in values)
        product_id: int = self.connection.execute(
            text(f"INSERT INTO products ({names}) VALUES ({places}) RETURNING id"), values
        ).scalar_one()
        if analysis is not None:
            self.connection.execute(
                text(
                    "INSERT INTO ingredient_analyses (product_id, source, vegan, vegetarian, palm_oil, analysis) "
                    "VALUES (:id, 'text', 'yes', 'yes', 'no', :analysis)"
                ),
                {"id": product_id, "analysis": json.dumps(analysis)},
            )
        return product_id

    def full(self) -> dict[str, UUID]:
        """A job in each state, with attempts and a traceback, a product and a schedule; the jobs by their state."""
        self.connection.execute(
            text(
                "INSERT INTO spoils_schedules (id, name, runtime_job, cron, zone, task_type, payload) VALUES "
                "(1, 'fetch-product', 'FetchProductJob', '0 2 * * *', 'UTC', 'fetch_product', "
                """'{"barcode": "3017620422003"}') """
                "ON CONFLICT (id) DO UPDATE SET paused_at = NULL"
            )
        )
        self.connection.execute(
            text("SELECT setval('spoils_schedules_id_seq', 100 + nextval('spoils_schedules_id_seq'))")
        )
        worker_id = self.at_work("fetch_product")
        jobs = {}
        for at, state in enumerate(STATES):
            waits = state in ("new", "retried")
            jobs[state] = self.task(
                state=state,
                task_type="fetch_product",
                metadata={"type": "FetchProductJob", "barcode": f"30176204220{at:02d}"},
                due_in=150 if state == "retried" else 0,
                error_message="Unavailable: 503 from Open Food Facts"
                if state in ("failed", "retried")
                else None,
                attempts=0 if state == "new" else 2,
                retries=0 if state == "new" else 1,
                claimed_by=None if waits else worker_id,
            )
            if state != "new":
                self.attempt(
                    jobs[state],
                    error_class="Unavailable",
                    message="503 from Open Food Facts",
                    traceback=TRACEBACK,
                    worker_id=worker_id,
                    release="v143",
                    ran_ms=412,
                    delay_ms=60_000,
                )
        self.product(
            name="Thai peanut noodle kit", brands="Simply Asia", analysis=NOODLE_ANALYSIS, nutriscore="d"
        )
        return jobs

    def named_alike(self, task_id: UUID) -> None:
        """A worker, a batch and a change of many jobs, all of the id of a failed task in a group called sample.

        So every address that is made with this id leads to something.
        """
        self.attempt(task_id, self.one(task_id).attempts, "failed", fingerprint="sample", traceback=TRACEBACK)
        for statement in (
            f"UPDATE spoils_workers SET id = :id WHERE id = '{self.worker()}'",
            """INSERT INTO spoils_bulks (id, verb, who, selection, expected, total, done, refused, ended_at)
               VALUES (:id, 'delete', 'admin', '{"ids": []}', 2, 2, 1, 1, now())""",
            """INSERT INTO spoils_audit (who, verb, task_id, bulk_id, done, note)
               VALUES ('admin', 'delete', :id, :id, false, 'It runs.')""",
            "INSERT INTO spoils_batches (id, condition) VALUES (:id, 'end')",
        ):
            self.connection.execute(text(statement), {"id": task_id})

    def hostile(self) -> dict[str, UUID]:
        """A job in each state whose every text is markup, and one whose every text is long; by their state."""
        jobs = {}
        for state in STATES:
            jobs[state] = self.task(
                state=state,
                task_type=MARKUP,
                metadata={"type": MARKUP, MARKUP: MARKUP, "url": "javascript:window.hacked=1"},
                error_message=f"{MARKUP}: {MARKUP}",
                attempts=1,
            )
            self.attempt(
                jobs[state], error_class=MARKUP, message=MARKUP, traceback=MARKUP + TRACEBACK, release=MARKUP
            )
            self.task(
                state=state,
                task_type=LONG,
                metadata={"type": LONG, LONG: LONG * 20, "turn": "\u202egnp.exe"},
                error_message=LONG * 20,
            )
        self.product(
            name=MARKUP,
            brands=MARKUP,
            ingredients_text=MARKUP,
            quantity=LONG,
            analysis={
                "ingredients": [{"name": MARKUP, "known_as": MARKUP, "share": 1, "allergens": [MARKUP]}]
            },
        )
        return jobs


NOODLE_ANALYSIS = {
    "source": "text",
    "language": "en",
    "text": "Noodle: rice, water. Peanut.",
    "ingredients": [
        {
            "name": "Noodle",
            "share": 75.0,
            "share_is_estimate": True,
            "children": [{"name": "rice", "known_as": "en:rice", "share": 56.0, "share_is_estimate": True}],
        },
        {
            "name": "peanut",
            "known_as": "en:peanut",
            "share": 0.04,
            "share_is_estimate": True,
            "allergens": [{"tag": "en:peanuts", "name": "peanuts"}],
        },
        {"name": "citric acid", "known_as": "en:e330", "additive": "E330", "function": "acidity regulator"},
    ],
    "additives": [{"code": "E330", "name": "citric acid", "function": "acidity regulator"}],
    "allergens": [{"tag": "en:peanuts", "name": "peanuts"}],
    "traces": [{"tag": "en:sesame-seeds", "name": "sesame seeds"}],
    "vegan": "yes",
    "vegetarian": "yes",
    "palm_oil": "no",
    "unrecognised": ["zzyzx"],
    "notes": ["Shares are estimates."],
}
