"""The Flask-SQLAlchemy object, and how its sessions find their connection."""

from contextvars import ContextVar
from typing import Any, Protocol

from flask_sqlalchemy import SQLAlchemy
from flask_sqlalchemy.session import Session as FlaskSession
from sqlalchemy import MetaData
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.orm import DeclarativeBase, scoped_session
from sqlalchemy.orm import Session as OrmSession


class Unit(Protocol):
    """The transaction of a running job."""

    @property
    def connection(self) -> Connection:
        """Its connection, opened and begun at first use."""


running_unit: ContextVar[Unit | None] = ContextVar("running_unit", default=None)


class Session(FlaskSession):
    """`db.session`: inside a running job it joins the job's transaction, elsewhere it takes an engine's connection."""

    def get_bind(
        self,
        mapper: Any | None = None,
        clause: Any | None = None,
        bind: Engine | Connection | None = None,
        **kwargs: Any,
    ) -> Engine | Connection:
        """The job's connection, or what Flask-SQLAlchemy would choose."""
        unit = running_unit.get()
        if bind is None and unit is not None:
            return unit.connection
        return super().get_bind(mapper, clause, bind, **kwargs)


class Base(DeclarativeBase):
    """The base of every row."""

    metadata = MetaData(
        naming_convention={
            "pk": "%(table_name)s_pkey",
            "uq": "%(table_name)s_%(column_0_N_name)s_key",
            "ix": "%(table_name)s_%(column_0_N_name)s_idx",
            "ck": "%(table_name)s_%(constraint_name)s_check",
        }
    )


DbSession = OrmSession | scoped_session[Any]
"""A session, or the `db.session` that stands for one."""

db = SQLAlchemy(
    model_class=Base,
    # A job's own commit or rollback must touch a savepoint only: its completion alone ends its transaction.
    session_options={"class_": Session, "join_transaction_mode": "create_savepoint"},
)
