"""The alert rules and the Grafana dashboard of `deploy/`: promtool loads and tests the rules, and every metric that
either names is one that `/metrics` gives.
"""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from prometheus_client.parser import text_string_to_metric_families

from spoils.config import Settings
from spoils.web import create_app
from tests.programs import ROOT
from tests.rows import Rows

RULES, DASHBOARD = ROOT / "deploy" / "alert-rules.yml", ROOT / "deploy" / "grafana-dashboard.json"
UNIT_TESTS = ROOT / "tests" / "alert-rules-test.yml"
METRIC = re.compile(r"\bspoils_\w+")
LABEL = re.compile(r'(\w+)(?:=~|!~|!=|=)"|\bby \(([\w, ]+)\)|\{\{ ?(?:\$labels\.)?(\w+) ?\}\}')


@pytest.fixture
def promtool() -> str:
    """Find promtool; without it the test is skipped, in CI it fails."""
    found = shutil.which("promtool")
    if found is None:
        complaint = "promtool is not installed (the package prometheus of Debian)."
        if os.environ.get("CI"):
            pytest.fail(complaint)
        pytest.skip(complaint)
    return found


def run(*command: str, folder: Path | None = None) -> str:
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def test_promtool_loads_the_alert_rules_and_their_unit_tests_pass(promtool: str, tmp_path: Path) -> None:
    assert "7 rules found" in run(promtool, "check", "rules", str(RULES))
    for file in (RULES, UNIT_TESTS):
        shutil.copy(file, tmp_path)
    run(promtool, "test", "rules", UNIT_TESTS.name, folder=tmp_path)


def test_the_unit_tests_of_the_rules_notice_a_changed_rule(promtool: str, tmp_path: Path) -> None:
    shutil.copy(UNIT_TESTS, tmp_path)
    (tmp_path / RULES.name).write_text(RULES.read_text().replace("> 0.1", "> 0.5"))
    with pytest.raises(AssertionError, match="SpoilsAttemptsFail"):
        run(promtool, "test", "rules", UNIT_TESTS.name, folder=tmp_path)


def test_every_metric_and_label_of_the_rules_and_the_dashboard_is_one_of_a_scrape(
    database_url: str, rows: Rows
) -> None:
    rows.task(state="failed")
    app = create_app(Settings.from_env({"DATABASE_URL": database_url, "SPOILS_API_TOKEN": "t0ken"}))
    names, labels = scraped(app.test_client())
    dashboard = json.loads(DASHBOARD.read_text())
    of_the_dashboard = " ".join(
        f"{target['expr']} {target['legendFormat']}"
        for panel in dashboard["panels"]
        for target in panel["targets"]
    )
    for source in (RULES.read_text(), of_the_dashboard, str(dashboard["templating"])):
        used = set(METRIC.findall(source))
        assert used
        assert used <= names
    for source in (RULES.read_text(), of_the_dashboard):
        found = {
            name for groups in LABEL.findall(source) for part in groups for name in re.findall(r"\w+", part)
        }
        assert {"task_type", "outcome"} <= found <= labels


def scraped(client: FlaskClient) -> tuple[set[str], set[str]]:
    """The names of all samples and of all labels, as Prometheus' own parser reads them."""
    response = client.get("/metrics", headers={"Authorization": "Bearer t0ken"})
    samples = [one for family in text_string_to_metric_families(response.text) for one in family.samples]
    return {one.name for one in samples}, {label for one in samples for label in one.labels}


def test_the_query_of_the_documented_autoscaler_counts_due_and_running_jobs(rows: Rows) -> None:
    rows.task(due_in=-1)
    rows.task(state="in_progress")
    rows.task(due_in=600)
    rows.task(state="finished")
    document = (ROOT / "docs" / "deploy.md").read_text()
    query = document.partition("query: >-\n")[2].partition("```")[0]
    assert rows.value(" ".join(query.split())) == 2
