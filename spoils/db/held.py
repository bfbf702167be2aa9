"""Holding on to a pooled connection from one request to the next: taking it and giving it back costs an eighth of what
a short request does.

Only while others lie idle in the pool: who needs one does not wait for what is merely held.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Engine
from sqlalchemy.pool import PoolProxiedConnection


class _Thread(threading.local):
    holds = False
    engine: Engine | None = None
    pooled: PoolProxiedConnection | None = None


_thread = _Thread()


@contextmanager
def holding() -> Iterator[None]:
    """Within it this thread holds on to the connection that it gives back; at the end the pool has it."""
    _thread.holds = True
    try:
        yield
    finally:
        _thread.holds = False
        let_go()


def take(engine: Engine) -> PoolProxiedConnection:
    """The connection that this thread holds, or one of the engine's pool. Raises what that raises."""
    pooled, held_of = _thread.pooled, _thread.engine
    if pooled is None or held_of is not engine:
        return engine.raw_connection()
    _thread.pooled = None
    return pooled


def give_back(engine: Engine, pooled: PoolProxiedConnection) -> None:
    """Hold on to it, where this thread may and others need not wait for it; else the pool has it."""
    pool: Any = engine.pool
    if _thread.holds and _thread.pooled is None and pooled.is_valid and pool.checkedout() < pool.size():
        _thread.engine, _thread.pooled = engine, pooled
    else:
        pooled.close()


def let_go() -> None:
    """Give the pool what this thread holds."""
    pooled, _thread.pooled, _thread.engine = _thread.pooled, None, None
    if pooled is not None:
        pooled.close()
