"""GET /api/jobs/<id>/why."""

from tests.rows import Rows
from tests.web.conftest import MakeClient

TOKEN = {"Authorization": "Bearer s3cret"}


def test_it_lists_the_reasons(client_with: MakeClient, rows: Rows) -> None:
    client = client_with(SPOILS_API_TOKEN="s3cret")
    task_id = rows.task(due_in=3600)
    answer = client.get(f"/api/jobs/{task_id}/why", headers=TOKEN).get_json()
    assert (answer["id"], answer["state"], answer["waits"]) == (str(task_id), "new", True)
    assert [one["kind"] for one in answer["reasons"]] == ["not_due", "no_worker"]
    assert answer["reasons"][0]["due_at"].endswith("Z")
    running = rows.task(state="in_progress")
    answer = client.get(f"/api/jobs/{running}/why", headers=TOKEN).get_json()
    assert (answer["waits"], answer["reasons"]) == (False, [])
    assert client.get("/api/jobs/nonsense/why", headers=TOKEN).status_code == 404
