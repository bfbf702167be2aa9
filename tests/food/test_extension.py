"""The food service as an extension: with it the program has its pages and endpoints, without it nothing names food."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import Engine

from spoils.cli.composition import extensions
from spoils.config import ROOT, Settings

FOOD_WORDS = re.compile(r"product(?!ion)|barcode|open ?food|ingredient|noodle|fetch.?product", re.IGNORECASE)
PROGRAM = """
import json, os, sys
from spoils.cli.composition import extensions
from spoils.config import Settings
from spoils.job.discovery import load
from spoils.web import create_app

settings = Settings.from_env(os.environ, development=True)
load(settings.jobs)
app = create_app(settings, extensions=extensions(settings))
client = app.test_client()
seen = {"rules": " ".join(f"{rule.endpoint} {rule.rule}" for rule in app.url_map.iter_rules())}
for rule in app.url_map.iter_rules():
    if "GET" in rule.methods and not rule.arguments:
        answer = client.get(rule.rule)
        seen[f"{answer.status_code} {rule.rule}"] = answer.get_data(as_text=True)
seen["modules"] = " ".join(name for name in sys.modules if name.startswith("spoils.food"))
print(json.dumps(seen))
"""


def test_without_the_extension_no_page_link_endpoint_or_document_names_food(
    database_url: str, engine: Engine, tmp_path: Path
) -> None:
    (tmp_path / "shop_jobs.py").write_text(
        "from spoils.job import Job\n\n\n"
        "class ChargeCardJob(Job):\n"
        '    """Charges a card."""\n\n    order_id: int\n\n'
        "    def run(self, queue):\n        return None\n"
    )
    environment = {
        **os.environ,
        "PYTHONPATH": f"{ROOT}:{tmp_path}",
        "DATABASE_URL": database_url,
        "SPOILS_JOBS": "shop_jobs",
    }
    made = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=True
    )
    seen = json.loads(made.stdout)
    assert {"200 /", "200 /jobs", "200 /enqueue", "200 /openapi.json", "200 /api/docs"} <= set(seen)
    assert "ChargeCardJob" in seen["200 /openapi.json"]
    for where, text in seen.items():
        assert not FOOD_WORDS.search(text), (where, FOOD_WORDS.search(text))


@pytest.mark.parametrize(
    ("jobs", "shown"),
    [("spoils.jobs", 1), ("shop.jobs, spoils.jobs.fetch_product", 1), ("shop.jobs", 0), ("spoils.jobs2", 0)],
)
def test_food_is_shown_where_its_jobs_are(jobs: str, shown: int) -> None:
    assert len(extensions(Settings.from_env({"SPOILS_JOBS": jobs}))) == shown
