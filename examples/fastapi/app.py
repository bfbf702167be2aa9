"""A shop on FastAPI: an order and its job are committed together; the dashboard of the queue is at /queue."""

import hmac
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Annotated

import spoils
import spoils.web
from a2wsgi import WSGIMiddleware
from fastapi import Depends, FastAPI
from flask import Request
from pydantic import BaseModel
from sqlalchemy import DateTime, make_url
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from werkzeug.datastructures import WWWAuthenticate
from werkzeug.exceptions import Unauthorized

from jobs import MailReceipt

engine = create_async_engine(make_url(os.environ["DATABASE_URL"]).set(drivername="postgresql+asyncpg"))


class Base(DeclarativeBase):
    """The base of the shop's tables."""


class Order(Base):
    """An order of a customer."""

    __tablename__ = "orders"

    id: Mapped[int] = mapped_column(primary_key=True)
    email: Mapped[str]
    mailed_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))


class NewOrder(BaseModel):
    """What a customer sends."""

    email: str


@asynccontextmanager
async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
    """Create the tables of the shop."""
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    yield
    await engine.dispose()


async def transaction() -> AsyncIterator[AsyncSession]:
    """The session of a request."""
    async with AsyncSession(engine) as session:
        yield session


app = FastAPI(lifespan=lifespan)


@app.post("/orders")
async def create_order(
    new: NewOrder, session: Annotated[AsyncSession, Depends(transaction)]
) -> dict[str, str]:
    """Insert an order and enqueue its job, in one transaction."""
    order = Order(email=new.email)
    session.add(order)
    await session.flush()
    job = await spoils.aenqueue(MailReceipt(order_id=order.id), connection=session)
    await session.commit()
    return {"job": str(job.id)}


def authorize(asked: Request) -> tuple[str, str]:
    """Let the owner of the shop in, by HTTP Basic authentication."""
    given = asked.authorization
    password = (given.password if given else None) or ""
    if not hmac.compare_digest(password.encode(), os.environb[b"SHOP_PASSWORD"]):
        raise Unauthorized("Log in.", www_authenticate=WWWAuthenticate("basic", {"realm": "shop"}))
    return "admin", given.username or "owner"


app.mount("/queue", WSGIMiddleware(spoils.web.create_app(authorize=authorize)))
