"""A server that follows another one by streaming replication."""

import os
import subprocess
from dataclasses import replace

from spoils.db.embedded_files import Files

FOLLOWER = "follower"
MAKE_FOLLOWER = f"CREATE ROLE {FOLLOWER} REPLICATION LOGIN PASSWORD '{FOLLOWER}'"


def standby_of(primary: Files) -> Files:
    """Copy a running server as one that follows it."""
    place = primary.place / "standby"
    standby = replace(primary, place=place, data=place / "data", socket=primary.socket / "s")
    for folder, mode in ((place, 0o711), (standby.data, 0o700), (standby.socket, 0o700)):
        folder.mkdir()
        primary.give(folder, mode)
    subprocess.run(
        [
            primary.programs / "pg_basebackup",
            *("--host", str(primary.socket), "--username", FOLLOWER, "--pgdata", str(standby.data)),
            *("--write-recovery-conf", "--checkpoint", "fast", "--no-sync"),
        ],
        env={"PATH": os.defpath, "LC_ALL": "C", "PGPASSWORD": FOLLOWER},
        cwd="/",
        check=True,
        user=primary.account.pw_uid if primary.account else None,
        group=primary.account.pw_gid if primary.account else None,
        extra_groups=[] if primary.account else None,
    )
    return standby
