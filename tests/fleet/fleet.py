"""A deployment on hosts of its own: a database, PgBouncer, three worker hosts, and two web hosts behind nginx."""

import itertools
import os
import signal
import threading
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import requests
from sqlalchemy import Connection, make_url

from spoils.cli.composition import FOOD_TABLES
from spoils.db import embedded_server
from spoils.db.embedded import EmbeddedPostgres
from spoils.db.embedded_files import Files, find_files
from spoils.db.engine import make_engine
from spoils.db.migrate import migrate
from tests.faults import invariants
from tests.faults.standby import MAKE_FOLLOWER, standby_of
from tests.faults.workers import workers_run
from tests.fleet.network import NETWORK, Host, Network
from tests.nginx import nginx_before
from tests.pooler import MAKE_ROLE, ROLE, a_pooler
from tests.programs import JOBS, Program, Web, start_worker
from tests.rows import Rows
from tests.servers import THROW_AWAY
from tests.support import eventually

DATABASE = "10.77.0.10"
"""Where programs find the database: after a failover this is the address of another host."""
SETTINGS = {**THROW_AWAY, "listen_addresses": "*", "synchronous_commit": "on"}
PROCESSES = 2
"""Of each worker host: with more than one, a parent process starts another where one ends."""
TOKEN = "a token of the fleet's tests"


@dataclass
class Follower:
    """A streaming replica, and its host."""

    host: Host
    files: Files


class Fleet:
    """The hosts, and what runs on them. The test reads the database through its socket, which no fault reaches."""

    def __init__(self, network: Network, folder: Path, stack: ExitStack) -> None:
        self.network = network
        self.numbers = itertools.count()
        """Of jobs: the invariants know a chain and its link by their number."""
        self._stack = stack
        self.database = network.host("10.77.0.2", DATABASE)
        self.pooler = network.host("10.77.0.4")
        self.workers = [network.host(f"10.77.0.{number}") for number in (11, 12, 13)]
        self.webs = [network.host(f"10.77.0.{number}") for number in (21, 22)]
        self.entry = network.host("10.77.0.30")
        self.clients = [*self.workers, *self.webs]
        """The hosts whose programs use the database."""
        self.programs: dict[Host, Program] = {}
        self.files = self._start_database(folder)
        self.rows = Rows(self.connect(self.files.url))
        invariants.install(self.rows.connection)
        there = make_url(self.files.url).set(username=ROLE, password=ROLE, host=DATABASE, port=5432, query={})
        self._url = there.render_as_string(hide_password=False)
        with self.pooler.inside():
            self._pooled_url = stack.enter_context(a_pooler(self._url, 20, address=self.pooler.address)).url
        for host in self.workers:
            self.start_worker(host)
        for host in self.webs:
            self._start_web(host)
        with self.entry.inside():
            webs = [self.programs[host] for host in self.webs]
            self.front = stack.enter_context(nginx_before(*webs, folder=folder))
        self.await_well()

    def connect(self, url: str) -> Connection:
        """A connection of the test's own."""
        engine = make_engine(url, connections=3, application_name="tests", autocommit=True)
        self._stack.callback(engine.dispose)
        return self._stack.enter_context(engine.connect())

    def start_worker(self, host: Host, **environment: str) -> None:
        """Start the worker processes of a host. Those of the last host connect through the pooler."""
        url = self._pooled_url if host is self.workers[-1] else self._url
        with host.inside():
            program = start_worker(url, WORKER_PROCESSES=str(PROCESSES), WORKER_THREADS="3", **environment)
        self.programs[host] = self._stack.enter_context(program)

    def restart_worker(self, host: Host, **environment: str) -> None:
        """Stop the worker processes of a host, whatever their exit code, and start others."""
        self.programs[host].send(signal.SIGTERM)
        self.programs[host].ends()
        self.start_worker(host, **environment)

    def kill(self, host: Host) -> None:
        """Let a host die: nobody hears of the end of its processes."""
        host.cut_off()
        program = self.programs[host]
        for pid in (program.process.pid, *program.children):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        program.ends()

    def await_well(self) -> None:
        """Wait until each worker process sends heartbeats, and each web host answers."""
        workers_run(self.rows, PROCESSES * len(self.workers))
        for url in (*(self.programs[host].url for host in self.webs), self.front):
            eventually(lambda url=url: self.answers(url), 40)

    def add_follower(self) -> "Follower":
        """Start a follower on a host of its own; from then on a commit is answered once it is there too."""
        host = self.network.host("10.77.0.3", DATABASE)
        self.rows.connection.exec_driver_sql(MAKE_FOLLOWER)
        files = standby_of(self.files)
        with host.inside():
            embedded_server.ensure_running(files, SETTINGS)
        self._stack.callback(embedded_server.halt, files, "immediate")
        self._admit(files)
        for statement in ("ALTER SYSTEM SET synchronous_standby_names = '*'", "SELECT pg_reload_conf()"):
            self.rows.connection.exec_driver_sql(statement)
        followers = "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'"
        eventually(lambda: self.rows.value(followers) == 1, 30)
        return Follower(host, files)

    def fail_over(self, follower: "Follower") -> None:
        """Let the database's host die, promote the follower, and lead the address to it."""
        self.database.cut_off()
        embedded_server.halt(self.files, "immediate")
        self.rows = Rows(self.connect(follower.files.url))
        assert self.rows.value("SELECT pg_promote()")
        self.network.move(DATABASE, follower.host)

    def answers(self, url: str) -> bool:
        """Whether a web program, or nginx, answers a client at the entry."""
        with self.entry.inside():
            return requests.get(f"{url}/health", timeout=10).status_code == 200

    def _start_database(self, folder: Path) -> Files:
        postgres = EmbeddedPostgres(folder / "server", settings=SETTINGS)
        with self.database.inside():
            url = postgres.start()
        self._stack.callback(postgres.remove)
        engine = make_engine(url, connections=1, application_name="tests")
        migrate(engine, branches=[FOOD_TABLES])
        with engine.begin() as connection:
            connection.exec_driver_sql(MAKE_ROLE)
        engine.dispose()
        files = find_files(folder / "server" / "16", 16)
        self._admit(files)
        return files

    def _admit(self, files: Files) -> None:
        """Let the hosts connect to a server."""
        files.hba.write_text(f"{embedded_server.HBA}host all all {NETWORK} scram-sha-256\n")
        self.connect(files.url).exec_driver_sql("SELECT pg_reload_conf()")

    def _start_web(self, host: Host) -> None:
        with host.inside():
            web = Web(self._pooled_url, SPOILS_JOBS=JOBS, SPOILS_API_TOKEN=TOKEN)
        web.url = web.url.replace("127.0.0.1", host.address)
        self._stack.push(web)
        self.programs[host] = web


class Traffic:
    """Clients that enqueue jobs through nginx, and remember which were accepted, until the end of the block."""

    def __init__(self, fleet: Fleet, *, sleeps: bool = True, clients: int = 3) -> None:
        self.accepted: list[UUID] = []
        self.refused = 0
        self._fleet = fleet
        self._sleeps = sleeps
        self._ends = threading.Event()
        self._threads = [threading.Thread(target=self._send) for _ in range(clients)]

    def __enter__(self) -> "Traffic":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.set()
        for thread in self._threads:
            thread.join()

    def _send(self) -> None:
        with self._fleet.entry.inside(), requests.Session() as session:
            session.headers["Authorization"] = f"Bearer {TOKEN}"
            while not self._ends.wait(0.1):
                number = next(self._fleet.numbers)
                if self._sleeps and number % 4:
                    name, payload = "work", {"seconds": 0.2, "transactional": number % 2 == 0}
                else:
                    name, payload = "chain", {}
                try:
                    response = session.post(
                        f"{self._fleet.front}/api/jobs/{name}", json={"number": number, **payload}, timeout=20
                    )
                    response.raise_for_status()
                # Whether it was enqueued is not known.
                except requests.RequestException:
                    self.refused += 1
                else:
                    self.accepted.append(UUID(response.json()["id"]))
