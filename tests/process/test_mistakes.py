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


FILES = {
    "a misspelt policy": (job("    max_retires = 3\n"), r"max_retires is not a policy .* Did you mean max_retries\? .*"),
    "another library's policy": (job("    unique = True\n"), r"unique is not a policy of a job. Did you mean uniq\? .*"),
    "a field without its type": (job('    name = "Ada"\n'), r"name is not a policy of a job. A field needs an annotation \(.*"),
    "no run": (job("    uniq = True\n", run=""), r"it has no run\(self, queue\)\. .*"),
    "run misspelt": (job(run=RUN.replace("run", "runn")), r"it has no run\(self, queue\), but a method runn: rename that.*"),
    "no base": ("class MistakenJob:\n" + RUN, r"it does not extend Job: write class MistakenJob\(Job\)."),
    "async beside sync": (
        job('    task_type = "cleanup"\n', run=RUN.replace("def", "async def")),
        'it has the task type "cleanup", as CleanupJob .* has, but only one of them has an `async def run`: .*',
    ),
    "run that yields": (job(run="    def run(self, queue): yield\n"), "run yields, so that .*: take the `yield` out, .*"),
    "run without the queue": (job(run="    def run(self): ...\n"), r".*: def run\(self, queue\)\."),
    "run with the payload": (job(run="    def run(self, queue, name): ...\n"), r".*: def run\(self, queue\)\."),
    "cron in words": (job('    cron = "every 5 minutes"\n'), '"every 5 minutes" is not a cron expression: .*'),
    "a day that never comes": (job('    cron = "0 0 31 2 *"\n'), '"0 0 31 2 .*" is not a cron expression: Bad day-of-month.'),
    "cron with a payload": (job('    name: str\n    cron = "0 * * * *"\n'), ".* each of its fields needs a default."),
    "cron in no zone": (job('    cron_timezone = "Mars"\n    cron = "0 * * * *"\n'), 'There is no time zone "Mars"; .*'),
    "retries as text": (job('    max_retries = "3"\n'), "max_retries must be a whole number from 0 to 10,000."),
    "retries below 0": (job("    max_retries = -1\n"), "max_retries must be a whole number from 0 to 10,000."),
    "a timeout as text": (job('    timeout = "30s"\n'), "timeout must be None or seconds from 0 to seven days."),
    "backoff as a number": (job("    backoff = 5\n"), r".*: def backoff\(self, attempt\)\."),
    "a field called type": (job("    type: str\n"), 'a field cannot be called "type", .*'),
    "a float in a unique job": (job("    price: float\n    uniq = True\n"), "price may hold a float, .*: take an int, .*"),
    "a reserved endpoint": (job('    endpoint = "status"\n'), '"status" cannot be an endpoint: /api/jobs/status is reserved.'),
    "an endpoint in words": (job('    endpoint = "Greet Me"\n'), '"Greet Me" cannot be an endpoint: lower-case .*'),
    "open as text": (job('    open = "yes"\n'), "open must be True or False."),
    "an unknown field type": (job('    price: "Decimal"\n'), "an annotation cannot be read: name 'Decimal' is not .*"),
    "a SecretStr": ("from pydantic import SecretStr\n" + job("    key: SecretStr\n"), "key would be stored as .*"),
    "an alias": ("from pydantic import Field\n" + job('    name: str = Field(alias="n")\n'), "name has an alias, .*"),
}  # fmt: skip
WHOLE = {
    "no such module": ("import nothere\n" + job(), rf".*mistaken\.py, line 1: ModuleNotFoundError: .*'nothere'\. {IMPORTED}"),
    "no such name": ("from spoils.job import Jobs\n", rf".*mistaken\.py, line 1: ImportError: .*'Jobs'.* {IMPORTED}"),
    "a forgotten import": ("class MistakenJob(Job): ...\n", r".*mistaken\.py, line 1: NameError: name 'Job' is not defined\..*"),
    "a syntax error": ("class MistakenJob(Job:\n", r".*mistaken\.py, line 1: SyntaxError: .*"),
    "wrong indentation": ("if True:\n  a = 1\n   b = 1\n", r".*mistaken\.py, line 3: IndentationError: unexpected indent\. .*"),
    "a missing variable": ("import os\nos.environ['GREET']\n", r".*mistaken\.py, line 2: KeyError: 'GREET'\. .*"),
    "the database at import": (
        "from spoils.models import db\ndb.session.execute('')\n",
        r".*mistaken\.py, line 2: RuntimeError: Working outside of application context\. .*",
    ),
    "a name that is taken": (
        job(name="CleanupJob"),
        r"CleanupJob is defined twice: in .*cleanup\.py and in .*mistaken\.py\. Rename one of them\.",
    ),
    "an endpoint that is taken": (
        job('    endpoint = "cleanup"\n'),
        r"MistakenJob \(.*\) and CleanupJob \(.*\) both have the endpoint /api/jobs/cleanup: set `endpoint = .*",
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
CLOSED = "This endpoint requires a token, and the server has none. Set SPOILS_API_TOKEN to open it."
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
