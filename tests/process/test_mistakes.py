"""What a newcomer gets wrong, and the one sentence that names the mend: in job files, in commands, and in calls."""

# ruff: noqa: E501 - tables

import re
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from tests.process.trials import Trials
from tests.programs import free_port

pytestmark = pytest.mark.process

NOWHERE = "postgresql://spoils@127.0.0.1:1/nowhere"
PROGRAMS = [
    ["spoils", "check"],
    ["spoils", "dev"],
    ["spoils", "migrate"],
    ["worker.py"],
    ["app.py"],
    ["gunicorn", "app:app"],
]
RUN = "    def run(self, queue): ...\n"
IMPORTED = r"Its traceback is that of: python -c \"import spoils\.jobs\.mistaken\""


def job(body: str = "", run: str = RUN, name: str = "MistakenJob") -> str:
    return f"from spoils.job import Job\nclass {name}(Job):\n{body}{run}"


# Each other mistake in a class or a file has its sentence in tests/job/test_definition.py, test_base.py and
# test_loading.py.
FILES = {
    "a misspelt policy": (job("    max_retires = 3\n"), r"max_retires is not a policy .* Did you mean max_retries\? .*"),
    "no run": (job("    uniq = True\n", run=""), r"it has no run\(self, queue\)\. .*"),
    "no base": ("class MistakenJob:\n" + RUN, r"it does not extend Job: write class MistakenJob\(Job\)."),
    "cron in no zone": (job('    cron_timezone = "Mars"\n    cron = "0 * * * *"\n'), 'There is no time zone "Mars"; .*'),
}  # fmt: skip
WHOLE = {
    "no such module": ("import nothere\n" + job(), rf".*mistaken\.py, line 1: ModuleNotFoundError: .*'nothere'\. {IMPORTED}"),
    "a forgotten import": ("class MistakenJob(Job): ...\n", r".*mistaken\.py, line 1: NameError: name 'Job' is not defined\..*"),
    "wrong indentation": ("if True:\n  a = 1\n   b = 1\n", r".*mistaken\.py, line 3: IndentationError: unexpected indent\. .*"),
    "the database at import": (
        "from spoils.models import db\ndb.session.execute('')\n",
        r".*mistaken\.py, line 2: RuntimeError: Working outside of application context\. .*",
    ),
    "a name that is taken": (
        job(name="CleanupJob"),
        r"CleanupJob is defined twice: in .*cleanup\.py and in .*mistaken\.py\. Rename one of them\.",
    ),
}  # fmt: skip


def refused(trials: Trials, folder: Path, text: str, sentence: str) -> None:
    (folder / "mistaken.py").write_text(text)
    for program in PROGRAMS:
        environment = {"DATABASE_URL": NOWHERE, "PORT": str(free_port())}
        code, output = trials.run(*program, jobs=folder, **environment)
        output = re.sub(r"^\S+ INFO Starting gunicorn .*\n", "", output)
        assert re.fullmatch(sentence, output), (program, output)
        assert code == 2


@pytest.mark.parametrize("mistake", FILES)
def test_a_mistake_in_a_class_is_named_by_every_program(trials: Trials, tmp_path: Path, mistake: str) -> None:
    text, sentence = FILES[mistake]
    refused(trials, tmp_path, text, rf"MistakenJob \(.*mistaken\.py\): {sentence}")


@pytest.mark.parametrize("mistake", WHOLE)
def test_a_mistake_in_a_file_is_named_by_every_program(trials: Trials, tmp_path: Path, mistake: str) -> None:
    refused(trials, tmp_path, *WHOLE[mistake])


COMMANDS = [
    (["spoils", "bake"], r'There is no command "bake"\. There are: .*check.*dev.*migrate.*web.*worker.*'),
    (["spoils", "Migrate"], r'There is no command "Migrate"\. There are: .*migrate.*'),
    (["spoils", "adopt"], "Missing option '--no-rust-workers'."),
    (["spoils", "migrate", "--now"], "unrecognized arguments: --now. Settings are environment variables, .*"),
    (["spoils", "check", "MistakenJob"], "unrecognized arguments: MistakenJob. Settings are .*"),
    (["worker.py", "--threads", "5"], "unrecognized arguments: --threads 5. Settings are .* see docs/settings.md"),
    (["worker.py", "fetch_product"], "unrecognized arguments: fetch_product. Settings are .*"),
    (["app.py", "--port", "9000"], "unrecognized arguments: --port 9000. Settings are .*, as in PORT=8010: .*"),
]  # fmt: skip


@pytest.mark.parametrize(("command", "sentence"), COMMANDS, ids=str)
def test_a_wrong_command_prints_its_usage(trials: Trials, command: list[str], sentence: str) -> None:
    code, output = trials.run(*command, DATABASE_URL=NOWHERE)
    assert code == 2
    assert re.fullmatch(rf"(?s)Usage: .*\nError: {sentence}", output)


JSON = "application/json"
FORM = "application/x-www-form-urlencoded"
FETCH = "POST /api/jobs/fetch-product"
GOOD = '{"barcode": "737628064502"}'
CLOSED = "This endpoint requires a token. Set SPOILS_API_TOKEN to open it, or make a token in the dashboard."
CALLS = [
    (FETCH, GOOD, FORM, 415, "Send the payload as JSON, with Content-Type: application/json."),
    (FETCH, GOOD, "", 415, "Send the payload as JSON, with Content-Type: application/json."),
    (FETCH, "{'barcode': '737628064502'}", JSON, 400, "The body is not valid JSON: .* double quotes at line 1, .*"),
    (FETCH, '{"barcode": "737628064502"', JSON, 400, "The body is not valid JSON: .* at line 1, column 27."),
    (FETCH, '["737628064502"]', JSON, 400, 'A JSON object is required, as in {"user_id": 7}.'),
    (FETCH, "", JSON, 400, "The body is empty; a JSON object is required."),
    (FETCH, "{}", JSON, 422, "barcode: Field required."),
    (FETCH, '{"barcode": 737628064502}', JSON, 422, 'barcode: A barcode is text in quotes, such as "737628064502".'),
    (FETCH, '{"barcode": "noodles"}', JSON, 422, 'barcode: A barcode has digits only. The 1st character is "n".'),
    (FETCH, '{"code": "737628064502"}', JSON, 422, 'Unknown field "code" of FetchProductJob. Its fields: barcode.'),
    (FETCH, '{"barcode": NaN}', JSON, 400, "NaN is not JSON."),
    ("POST /api/jobs/fetch-products", GOOD, JSON, 404, 'Unknown job class "fetch-products". Job classes: .*'),
    ("POST /api/jobs/fetchproduct", GOOD, JSON, 404, 'Unknown job class "fetchproduct". Job classes: .*'),
    ("POST /api/job/fetch-product", GOOD, JSON, 404, "There is nothing at this address."),
    ("GET /api/jobs/fetch-product", None, JSON, 405, "This address does not allow that method."),
    ("POST /api/jobs/analyze-ingredients", '{"product_id": "one"}', JSON, 422, "product_id: .* valid integer."),
    ("POST /api/jobs/send-notification", "{}", JSON, 401, CLOSED),
    ("POST /api/jobs", '{"type": "FetchProductJob"}', JSON, 401, CLOSED),
    ("GET /api/products/737628064502", None, JSON, 404, "Product 0737628064502 has not been fetched. POST it to .*"),
]  # fmt: skip


def test_a_wrong_call_is_answered_with_a_sentence(client: FlaskClient) -> None:
    for call, body, content_type, status, sentence in CALLS:
        method, path = call.split()
        answer = client.open(path, method=method, data=body, content_type=content_type)
        error = answer.get_json()["error"]
        assert answer.status_code == status, (call, body, error)
        assert re.fullmatch(sentence.replace("{", r"\{").replace("}", r"\}"), error), (call, body, error)
