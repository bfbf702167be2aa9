"""A transaction on each kind of connection that an application may have."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import asyncpg
import django.conf
import psycopg
import psycopg2
import psycopg2.extras
from psycopg.rows import dict_row
from sqlalchemy import create_engine, make_url
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession, create_async_engine
from sqlalchemy.orm import Session, scoped_session, sessionmaker

from spoils.client import Client
from spoils.job import Job
from spoils.queue.enqueue import Enqueued
from tests.support import in_thread

END = {True: "commit", False: "rollback"}
Enqueue = Callable[[str, list[Job], bool], list[Enqueued]]


def enqueue_on(opens: Callable[[str], Any]) -> Enqueue:
    """Enqueue by a connection that `opens` makes, in a transaction that is then committed or rolled back."""

    def enqueue(url: str, jobs: list[Job], commits: bool) -> list[Enqueued]:
        client = Client(url)

        def enqueued() -> list[Enqueued]:
            with opens(url) as connection:
                done = client.enqueue_many(jobs, connection=connection)
                getattr(connection, END[commits])()
            return done

        done = in_thread(enqueued)
        client.close()
        return done

    return enqueue


def aenqueue_on(
    use: Callable[[str, Callable[[Any], Awaitable[list[Enqueued]]], bool], Awaitable[list[Enqueued]]],
) -> Enqueue:
    """The same for an asynchronous connection: `use` awaits a function with it, and ends the transaction."""

    def enqueue(url: str, jobs: list[Job], commits: bool) -> list[Enqueued]:
        client = Client(url)
        done = in_thread(
            lambda: asyncio.run(
                _awaited(use(url, lambda given: client.aenqueue_many(jobs, connection=given), commits))
            )
        )
        client.close()
        return done

    return enqueue


async def _awaited(found: Awaitable[list[Enqueued]]) -> list[Enqueued]:
    return await found


def driver_url(url: str, driver: str) -> str:
    return make_url(url).set(drivername=f"postgresql+{driver}").render_as_string(hide_password=False)


@contextmanager
def sqlalchemy_session(url: str) -> Iterator[Session]:
    engine = create_engine(driver_url(url, "psycopg2"))
    with Session(engine) as session:
        yield session
    engine.dispose()


@contextmanager
def sqlalchemy_scoped(url: str) -> Iterator[scoped_session[Session]]:
    engine = create_engine(driver_url(url, "psycopg"))
    session = scoped_session(sessionmaker(engine))
    yield session
    session.remove()
    engine.dispose()


def sqlalchemy_connection(driver: str) -> Callable[[str], Any]:
    @contextmanager
    def opens(url: str) -> Iterator[Any]:
        engine = create_engine(driver_url(url, driver))
        with engine.connect() as connection:
            yield connection
        engine.dispose()

    return opens


@contextmanager
def plain_psycopg2(url: str) -> Iterator[Any]:
    connection = psycopg2.connect(url, cursor_factory=psycopg2.extras.RealDictCursor)
    yield connection
    connection.close()


@contextmanager
def plain_psycopg(url: str) -> Iterator[Any]:
    with psycopg.connect(url, row_factory=dict_row) as connection:
        yield connection


@contextmanager
def django_connection(url: str) -> Iterator[Any]:
    parts = make_url(url)
    if not django.conf.settings.configured:
        django.conf.settings.configure(DATABASES={"default": {"ENGINE": "django.db.backends.postgresql"}})
        django.setup()
    from django.db import connections  # noqa: PLC0415 - only once the settings are there
    from django.db.utils import ConnectionHandler  # noqa: PLC0415

    handler = ConnectionHandler(
        {
            "default": {
                "ENGINE": "django.db.backends.postgresql",
                "NAME": parts.database,
                "USER": parts.username or "",
                "PASSWORD": parts.password or "",
                "HOST": parts.query.get("host", parts.host) or "",
                "PORT": parts.port or parts.query.get("port", ""),
                "AUTOCOMMIT": False,
            }
        }
    )
    assert connections is not None
    connection = handler["default"]
    yield connection
    connection.close()


async def use_session(url: str, enqueue: Any, commits: bool) -> Any:
    engine = create_async_engine(driver_url(url, "asyncpg"))
    async with AsyncSession(engine) as session:
        done = await enqueue(session)
        await getattr(session, END[commits])()
    await engine.dispose()
    return done


async def use_connection(url: str, enqueue: Any, commits: bool) -> Any:
    engine = create_async_engine(driver_url(url, "psycopg"))
    connection: AsyncConnection
    async with engine.connect() as connection:
        done = await enqueue(connection)
        await getattr(connection, END[commits])()
    await engine.dispose()
    return done


async def use_psycopg(url: str, enqueue: Any, commits: bool) -> Any:
    connection = await psycopg.AsyncConnection.connect(url, row_factory=dict_row)
    done = await enqueue(connection)
    await getattr(connection, END[commits])()
    await connection.close()
    return done


async def use_asyncpg(url: str, enqueue: Any, commits: bool) -> Any:
    connection = await asyncpg.connect(url)
    transaction = connection.transaction()
    await transaction.start()
    done = await enqueue(connection)
    await getattr(transaction, END[commits])()
    await connection.close()
    return done


async def use_asyncpg_pool(url: str, enqueue: Any, commits: bool) -> Any:
    async with asyncpg.create_pool(url, min_size=1, max_size=1) as pool, pool.acquire() as connection:
        transaction = connection.transaction()
        await transaction.start()
        done = await enqueue(connection)
        await getattr(transaction, END[commits])()
    return done


KINDS: dict[str, Enqueue] = {
    "sqlalchemy.Session": enqueue_on(sqlalchemy_session),
    "sqlalchemy.scoped_session": enqueue_on(sqlalchemy_scoped),
    "sqlalchemy.Connection on psycopg2": enqueue_on(sqlalchemy_connection("psycopg2")),
    "sqlalchemy.Connection on psycopg": enqueue_on(sqlalchemy_connection("psycopg")),
    "psycopg2": enqueue_on(plain_psycopg2),
    "psycopg": enqueue_on(plain_psycopg),
    "django": enqueue_on(django_connection),
    "sqlalchemy.AsyncSession on asyncpg": aenqueue_on(use_session),
    "sqlalchemy.AsyncConnection on psycopg": aenqueue_on(use_connection),
    "psycopg.AsyncConnection": aenqueue_on(use_psycopg),
    "asyncpg": aenqueue_on(use_asyncpg),
    "asyncpg pool": aenqueue_on(use_asyncpg_pool),
}
