"""The calls that docs/flow.md shows for schedules, made to a server by the shell."""

import re
import subprocess

from tests.documents import ROOT
from tests.rows import Rows
from tests.web.dashboard.conftest import MakeApp, serving

TOKEN = "a-token-of-the-reader"
BLOCK = re.compile(r"^```bash\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def test_the_calls_for_schedules_make_change_run_and_delete_one(make_app: MakeApp, rows: Rows) -> None:
    text = (ROOT / "docs/flow.md").read_text()
    section = text.partition("## Schedules at runtime\n")[2].partition("\n## ")[0]
    make, change = BLOCK.findall(section)
    with serving(make_app(SPOILS_API_TOKEN=TOKEN)) as url:

        def follow(block: str) -> None:
            commands = block.replace("http://127.0.0.1:8000", url).replace("<token>", TOKEN)
            commands = commands.replace("curl ", "curl --fail-with-body --silent --show-error ")
            done = subprocess.run(
                ["sh", "-e", "-c", commands], capture_output=True, text=True, timeout=60, check=False
            )
            assert done.returncode == 0, done.stdout + done.stderr

        follow(make)
        assert rows.all("SELECT name, cron, zone FROM spoils_schedules WHERE name IS NOT NULL") == [
            ("noodles-nightly", "0 3 * * *", "Europe/Berlin")
        ]
        follow(change)
    assert rows.value("SELECT count(*) FROM spoils_schedules WHERE name IS NOT NULL") == 0
    assert (
        rows.value("SELECT after ->> 'cron' FROM spoils_audit WHERE verb = 'change schedule'")
        == "30 4 * * 1-5"
    )
    assert rows.all("SELECT metadata FROM fang_tasks") == [
        ({"type": "FetchProductJob", "barcode": "737628064502"},)
    ]
