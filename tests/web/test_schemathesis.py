"""Schemathesis over /openapi.json, against gunicorn: no 5xx, and no answer that the document does not have.

Some 600 requests by default. SPOILS_FUZZ_EXAMPLES sets the number of examples for each operation, SPOILS_FUZZ_SECONDS
the time to go on for; docs/reliability.md has the command for a long run.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from spoils.config import environment_with
from tests.programs import ROOT, Web
from tests.support import PATIENCE

pytestmark = pytest.mark.process

EXAMPLES = os.environ.get("SPOILS_FUZZ_EXAMPLES", "2")
SECONDS = os.environ.get("SPOILS_FUZZ_SECONDS")
# Not whether a valid payload is accepted: that depends on keys, duplicates and states too.
CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,"
    "response_headers_conformance,ignored_auth"
)


@pytest.mark.parametrize(
    ("asked_for", "sent"),
    [("t0ken", "t0ken"), ("t0ken", ""), ("", "")],
    ids=["with token", "without token", "open"],
)
def test_no_request_gets_an_answer_that_the_document_does_not_have(
    database_url: str, tmp_path: Path, asked_for: str, sent: str
) -> None:
    secrets = {"SPOILS_API_TOKEN": asked_for, "SPOILS_OPEN_QUEUE_DEPTH": "50"}
    with Web(database_url, **secrets) as web:
        document = tmp_path / "openapi.json"
        document.write_text(document_of(database_url, secrets))
        command = [
            *(sys.executable, "-m", "schemathesis.cli", "run", str(document), "--url", web.url),
            *(
                "--seed",
                "1",
                "--max-examples",
                EXAMPLES,
                "--no-shrink",
                "--request-timeout",
                "60",
                # On a busy machine generating a request takes long.
                "--suppress-health-check",
                "too_slow,data_too_large,filter_too_much",
            ),
            *("--phases", "examples,coverage,fuzzing", "--generation-database", "none", "--no-color"),
            *("--checks", CHECKS, "--continue-on-failure", "--warnings", "off"),
            *(("--max-time", SECONDS) if SECONDS else ()),
            *(("-H", f"Authorization: Bearer {sent}") if sent else ()),
        ]
        done = subprocess.run(
            command,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
            timeout=(int(SECONDS or 60) + 120) * PATIENCE,
        )
        assert "Internal error" not in web.output
    tried = re.search(r"(\d[\d,]*) generated", done.stdout)
    print(tried and tried[0])
    assert done.returncode == 0, done.stdout[-6_000:] + done.stderr[-2_000:]
    assert tried
    assert int(tried[1].replace(",", "")) > 100


def document_of(database_url: str, secrets: dict[str, str]) -> str:
    """The document of the web program with these settings, which it does not serve to clients without a token.

    Made in a process of its own: in this one other tests may have defined job classes.
    """
    program = (
        "import json, os\n"
        "from spoils.job.discovery import load\n"
        "from spoils.config import Settings\n"
        "from spoils.web import create_app\n"
        "from spoils.food.extension import FOOD\n"
        "from spoils.web.openapi import make_document\n"
        "load()\n"
        "print(json.dumps(make_document(create_app(Settings.from_env(os.environ), extensions=(FOOD,)))))\n"
    )
    made = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env=environment_with(DATABASE_URL=database_url, **secrets),
        capture_output=True,
        text=True,
        check=True,
        timeout=60 * PATIENCE,
    )
    return made.stdout
