"""Holding on to a pooled connection from one request to the next: the pool's part costs an eighth of a short request.

A connection is held only where, at that moment, the pool has a place left for who needs one; and only until the thread
needs one again, or to `let_go`, which who has it hold calls within moments.
"""

import threading
from typing import Any

from sqlalchemy import Engine
from sqlalchemy.pool import PoolProxiedConnection


class _Thread(threading.local):
    engine: Engine | None = None
    pooled: PoolProxiedConnection | None = None


_thread = _Thread()


def take(engine: Engine) -> PoolProxiedConnection:
    """The connection that this thread holds, or one of the engine's pool. Raises what that raises."""
    if _thread.engine is not engine:
        return engine.raw_connection()
    pooled, _thread.engine, _thread.pooled = _thread.pooled, None, None
    return pooled or engine.raw_connection()


def give_back(engine: Engine, pooled: PoolProxiedConnection, *, hold: bool) -> None:
    """Give it to the pool, or `hold` it where others need not wait for it."""
    pool: Any = engine.pool
    if hold and _thread.pooled is None and pooled.is_valid and pool.checkedout() < pool.size():
        _thread.engine, _thread.pooled = engine, pooled
    else:
        pooled.close()


def let_go() -> None:
    """Give the pool what this thread holds."""
    pooled, _thread.engine, _thread.pooled = _thread.pooled, None, None
    if pooled is not None:
        pooled.close()
