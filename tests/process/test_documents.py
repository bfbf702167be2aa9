"""The blocks of README, guide and API page, followed in their order in a fresh clone with real programs."""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Self

import pytest
import requests

from spoils.db.embedded import programs
from tests.documents import ROOT, WALKED, Block, blocks
from tests.programs import Program, free_port
from tests.rows import Rows
from tests.support import eventually
from tests.upstream import Upstream

pytestmark = pytest.mark.process

ADDRESS = "http://127.0.0.1:8000"
TOKEN = "a-token-of-the-reader"
BARCODE = "737628064502"
NOODLES = {
    "product_name": "Thai peanut noodle kit",
    "lc": "en",
    "ingredients_text": "Rice noodles (rice, water), peanut, colour: E120",
}
UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
JOB_FILE = re.compile(r"# (?:In )?(spoils/jobs/\w+\.py)\n")
LOGGED = re.compile(r"`((?:Enqueued|Processing|Finished) \w+Job)`")
FIELD = re.compile(r'^  "(\w+)": (.*?),?$', re.MULTILINE)
SAME_EACH_TIME = {"message", "status", "state", "duplicate", "barcode", "product_id"}
# A terminal's shell survives Ctrl-C, which reaches every process of its session.
IN_A_TERMINAL = """
import os, sys
os.execvp("sh", ["sh", "-e", "-c", "trap : INT\\n" + sys.argv[1]])
"""


class Development(Program):
    """`bin/dev` in a terminal, from its last line of the start to Ctrl-C."""

    def __init__(self, command: str, clone: Path, environment: Mapping[str, str]) -> None:
        super().__init__("-c", IN_A_TERMINAL, command, folder=clone, group=True, **environment)

    def __enter__(self) -> Self:
        self.says("Spoils runs on", timeout=40)
        self.says("Worker pool started", timeout=40)
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        try:
            if error is None:
                self.send(signal.SIGINT)
                assert self.ends() == 0
        finally:
            super().__exit__(kind, error, trace)


class Reader:
    """Does what the documents say, block by block."""

    def __init__(self, clone: Path, *, databases: tuple[str, str], upstream: Upstream) -> None:
        port = free_port()
        self._address = f"http://127.0.0.1:{port}"
        self._clone = clone
        self._database_url, self._empty_database_url = databases
        self._environment = {
            "DATABASE_URL": self._database_url,
            "PORT": str(port),
            "OPENFOODFACTS_URL": upstream.url,
            "SPOILS_ANALYZE_SECONDS": "0",
            "SPOILS_NOTIFY_SECONDS": "0",
            "HOME": str(clone.parent),
            "PATH": f"{programs()}{os.pathsep}{os.environ['PATH']}",
        }
        self._development: Development | None = None
        self._may_restart = False
        """Whether a file has changed since `bin/dev` was started by hand."""
        self._token = ""
        self._task_id = ""
        self._payload: Any = None
        self._scripts: dict[str, str] = {}
        # By default curl succeeds whatever the status is.
        (clone.parent / ".curlrc").write_text("fail-with-body\nsilent\nshow-error\nmax-time = 60\n")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        development, self._development = self._development, None
        if development is not None:
            development.__exit__(kind, error, trace)

    def follow(self, block: Block) -> None:
        """Do what the text before a block says, then what the block says."""
        for words in LOGGED.findall(block.before):
            assert self._development is not None
            self._development.says(words)
        if "Restart `bin/dev`" in block.before:
            self._start("bin/dev")
        if not block.runs:
            return
        text = block.text.replace(ADDRESS, self._address)
        text = text.replace("<token>", TOKEN).replace("<id>", self._task_id)
        match block.language:
            case "bash" if text.endswith("bin/dev\n"):
                self._start(text)
            case "bash":
                self._shell(text)
            case "http":
                self._request(text)
            case "json":
                self._payload = json.loads(text)
            case "python" if JOB_FILE.match(text):
                (self._clone / JOB_FILE.match(text)[1]).write_text(text)
                self._may_restart = True
            case "python":
                self._python(block.document, text)
            case "sql":
                empty = block.note == "in an empty database"
                self._sql(text, self._empty_database_url if empty else self._database_url)

    def _start(self, command: str) -> None:
        self.__exit__(None, None, None)
        self._may_restart = False
        self._token = TOKEN if TOKEN in command else ""
        self._development = Development(command, self._clone, self._environment)
        self._development.__enter__()

    def _shell(self, text: str) -> None:
        def run() -> str:
            return self._run("sh", "-e", "-c", text)

        said = eventually(run, 20) if self._may_restart else run()
        if text.startswith("curl"):
            named = str(json.loads(said).get("id"))
            self._task_id = named if UUID.fullmatch(named) else self._task_id
            self._compare_payload(text)

    def _compare_payload(self, text: str) -> None:
        """A payload shown by itself is the one that the next call sends."""
        if self._payload is not None:
            words = shlex.split(text)
            assert json.loads(words[words.index("-d") + 1]) == self._payload
            self._payload = None

    def _request(self, text: str) -> None:
        request, response = text.split("\nResponse:\n")
        head, _, body = request.partition("\n\n")
        (method, path), *headers = (line.split(" ", 1) for line in head.strip().split("\n"))
        sent = {"Authorization": f"Bearer {self._token}"} | {
            name.removesuffix(":"): value for name, value in headers
        }
        path = UUID.sub(self._task_id, path)
        answer = requests.request(method, self._address + path, headers=sent, data=body, timeout=60)
        assert answer.ok, answer.text
        found, shown = answer.json(), dict(FIELD.findall(response))
        assert shown
        assert shown.keys() - found.keys() == set()
        if "\n  …\n" not in response:
            assert found.keys() - shown.keys() == set()
        for name in SAME_EACH_TIME & shown.keys():
            assert found[name] == json.loads(shown[name])

    def _python(self, document: str, text: str) -> None:
        """Below what the document's other blocks have put into the file; a comment says what is printed."""
        script = self._scripts[document] = self._scripts.get(document, "") + text
        printed = re.findall(r"^print\(.*\)  # (.*)$", script, re.MULTILINE)
        assert self._run(sys.executable, "-c", script).splitlines() == printed

    def _sql(self, text: str, database_url: str) -> None:
        self._run("psql", "--no-psqlrc", "--set=ON_ERROR_STOP=1", database_url, given=text)

    def _run(self, *command: str, given: str = "") -> str:
        done = subprocess.run(
            command,
            cwd=self._clone,
            env={**os.environ, **self._environment},
            input=given,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, f"{command} said:\n{done.stdout}{done.stderr}"
        return done.stdout


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """The project as it is cloned, with the packages of this Python in place of a `.venv`."""
    made = tmp_path / "clone"
    # Git ignores hidden folders, and bytecode, which saves time here.
    shutil.copytree(ROOT, made, ignore=shutil.ignore_patterns(".*"))
    (made / "bin" / "_env").write_text(f'cd "$(dirname -- "$0")/.."\npython={shlex.quote(sys.executable)}\n')
    return made


@pytest.fixture
def reader(clone: Path, database_url: str, empty_database_url: str) -> Iterator[Reader]:
    with Upstream() as upstream:
        upstream.products[BARCODE] = NOODLES
        with Reader(clone, databases=(database_url, empty_database_url), upstream=upstream) as reader:
            yield reader


def test_the_documents_can_be_followed_from_the_first_block_to_the_last(reader: Reader, rows: Rows) -> None:
    def idle() -> None:
        due = "state IN ('new', 'retried', 'in_progress') AND scheduled_at <= now()"
        assert rows.all(f"SELECT id, state, error_message FROM fang_tasks WHERE {due}") == []

    for document in WALKED:
        for block in blocks(document):
            try:
                reader.follow(block)
                eventually(idle, 20)
            except Exception as exc:
                exc.add_note(f"{block} is wrong, or the text before it:\n{block.text}")
                raise
    trouble = "SELECT metadata, error_message FROM fang_tasks WHERE state IN ('failed', 'retried')"
    assert rows.all(trouble) == []
