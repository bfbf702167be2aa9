"""GET /api/jobs/<id>/why."""

from uuid import uuid4

from sqlalchemy import Connection

from tests.rows import Rows
from tests.web.conftest import MakeClient

TOKEN = {"Authorization": "Bearer s3cret"}


def test_it_tells_the_reasons(client_with: MakeClient, connection: Connection, rows: Rows) -> None:
    client = client_with(SPOILS_API_TOKEN="s3cret")
    task_id = rows.task(due_in=3600)
    answer = client.get(f"/api/jobs/{task_id}/why", headers=TOKEN)
    assert answer.status_code == 200
    told = answer.get_json()
    assert (told["id"], told["state"], told["waits"]) == (str(task_id), "new", True)
    assert [one["kind"] for one in told["reasons"]] == ["not_due", "no_worker"]
    assert told["reasons"][0]["due_at"].endswith("Z")
    running = rows.task(state="in_progress")
    told = client.get(f"/api/jobs/{running}/why", headers=TOKEN).get_json()
    assert (told["waits"], told["reasons"]) == (False, [])


def test_it_needs_a_token_and_a_job(client_with: MakeClient) -> None:
    client = client_with(SPOILS_API_TOKEN="s3cret")
    assert client.get(f"/api/jobs/{uuid4()}/why").status_code == 401
    assert client.get(f"/api/jobs/{uuid4()}/why", headers=TOKEN).status_code == 404
    assert client.get("/api/jobs/nonsense/why", headers=TOKEN).status_code == 404
    assert client_with().get(f"/api/jobs/{uuid4()}/why").status_code == 401
