"""The lists of the dashboard as files: their filters, their masking, formulas, and where they end."""

import csv
import io
import json
from datetime import UTC, datetime, timedelta

import pytest
from flask import Flask

from spoils.masking import MASK
from spoils.models import db
from spoils.reports import job_list
from spoils.web import exports
from tests.web.dashboard.conftest import VIEWER
from tests.web.dashboard.pages import Visitor, links
from tests.web.dashboard.scenes import Scenes

LISTS = tuple(exports.SOURCES)


def read_csv(visitor: Visitor, path: str) -> list[dict[str, str]]:
    response = visitor.see(path)
    assert response.mimetype == "text/csv"
    return list(csv.DictReader(io.StringIO(response.text)))


def read_json(visitor: Visitor, path: str) -> tuple[list[dict], str | None]:
    response = visitor.see(path)
    assert response.mimetype == "application/json"
    found = json.loads(response.text)
    return found["rows"], found["cut_off"]


@pytest.mark.parametrize("name", LISTS)
def test_each_list_has_links_to_files_with_the_same_rows_in_both_formats(
    admin: Visitor, scenes: Scenes, name: str
) -> None:
    jobs = scenes.full()
    scenes.attempt(jobs["failed"], 2, "failed", fingerprint="abc")
    admin.press(f"/jobs/{scenes.task(state='failed')}/retries")
    found = [target for target in links(admin.see(f"/{name}")) if "/exports/" in target]
    assert [target.partition("?")[0] for target in found] == [f"/exports/{name}.csv", f"/exports/{name}.json"]
    as_csv, (as_json, cut_off) = read_csv(admin, found[0]), read_json(admin, found[1])
    assert cut_off is None
    assert len(as_csv) == len(as_json) > (0 if name != "batches" else -1)
    assert [list(row) for row in as_csv] == [list(row) for row in as_json]


def test_the_jobs_are_those_of_the_filters_of_the_page(admin: Visitor, scenes: Scenes) -> None:
    jobs = scenes.full()
    (target, _) = [
        one for one in links(admin.see("/jobs?state=failed&type=fetch_product")) if "/exports/" in one
    ]
    assert [row["id"] for row in read_csv(admin, target)] == [str(jobs["failed"])]
    admin.see("/exports/jobs.csv?state=unknown", 400)
    admin.see("/exports/nothing.csv", 404)
    admin.see("/exports/jobs.xml", 404)


def test_secrets_are_masked_and_formulas_are_text(admin: Visitor, scenes: Scenes) -> None:
    scenes.task(
        state="failed",
        metadata={"type": "MailJob", "api_key": "s3cret-in-a-field"},
        error_message="=HYPERLINK(1) password=s3cret-in-a-text",
    )
    text = admin.see("/exports/jobs.csv").text
    assert "s3cret" not in text + admin.see("/exports/jobs.json").text
    (row,) = csv.DictReader(io.StringIO(text))
    assert row["error"].startswith("'=HYPERLINK(1)")
    assert json.loads(row["metadata"])["api_key"] == MASK


def test_all_pages_are_read_once_and_a_cut_is_named(
    admin: Visitor, scenes: Scenes, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = {str(scenes.task(state="finished")) for _ in range(7)}
    monkeypatch.setattr(exports, "PAGE", 3)
    for most in (7, 8):
        monkeypatch.setattr(exports, "MOST", most)
        rows, cut_off = read_json(admin, "/exports/jobs.json")
        assert ({row["id"] for row in rows}, len(rows), cut_off) == (ids, 7, None)
    for most in (5, 6):
        monkeypatch.setattr(exports, "MOST", most)
        rows, cut_off = read_json(admin, "/exports/jobs.json")
        assert (len(rows), cut_off) == (most, exports.CUT)
        assert admin.see("/exports/jobs.csv").text.splitlines()[most + 1 :] == [exports.CUT]


def test_no_connection_is_held_while_the_client_reads(
    locked: Flask, admin: Visitor, scenes: Scenes, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(7):
        scenes.task()
    monkeypatch.setattr(exports, "PAGE", 3)
    response = admin.client.get("/exports/jobs.csv", buffered=False)
    with locked.app_context():
        pool = db.engine.pool
    for chunk in response.iter_encoded():
        assert chunk
        assert pool.checkedout() == 0
    response.close()


def test_a_viewer_may_export_and_a_stranger_may_not(locked: Flask, stranger: Visitor) -> None:
    viewer = Visitor(locked.test_client()).log_in(VIEWER)
    for name in LISTS:
        viewer.see(f"/exports/{name}.json")
        stranger.see(f"/exports/{name}.json", 303)


def test_a_rare_type_is_exported_to_its_end_although_its_search_has_empty_pages(
    viewer: Visitor, scenes: Scenes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_list, "FAR", 20)
    rare = scenes.task(state="finished", task_type="rare", updated_at=datetime.now(UTC) - timedelta(hours=1))
    for _ in range(50):
        scenes.task(state="finished", task_type="common")
    found, cut_off = read_json(viewer, "/exports/jobs.json?type=rare&state=finished")
    assert [row["id"] for row in found] == [str(rare)]
    assert cut_off is None


def test_a_file_of_jobs_has_what_the_page_shows_with_its_time_range_and_its_words(
    viewer: Visitor, scenes: Scenes
) -> None:
    long_ago = datetime.now(UTC) - timedelta(days=2)
    found = scenes.task(state="failed", error_message="card declined")
    scenes.task(state="failed", error_message="timeout")
    scenes.task(state="failed", error_message="card declined", updated_at=long_ago)
    scenes.task(state="failed", error_message="card declined", task_type="bulk", metadata={"type": "BulkJob"})
    rows, _ = read_json(viewer, "/exports/jobs.json?state=failed&changed=24h&error=declined")
    assert [row["id"] for row in rows] == [str(found)]
