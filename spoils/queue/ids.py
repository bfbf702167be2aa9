"""New ids of tasks, ordered by time: what is new stands together in the primary key, however long the history is."""

import os
import time

_NOISE_DIGITS = 18


def new_key() -> str:
    """An id as PostgreSQL prints it: version 7 of RFC 9562, with 72 bits of noise behind the millisecond."""
    return _key(_moment(), os.urandom(_NOISE_DIGITS // 2).hex())


def new_keys(number: int) -> list[str]:
    """As many, ascending, so that of tasks due at one moment the first one given is the first one claimed.

    As text: a UUID object for each would cost more than all else that is done for a task of many.
    """
    moment = _moment()
    noise = os.urandom(_NOISE_DIGITS // 2 * number).hex()
    digits = sorted(
        noise[start : start + _NOISE_DIGITS] for start in range(0, _NOISE_DIGITS * number, _NOISE_DIGITS)
    )
    return [_key(moment, one) for one in digits]


def _moment() -> str:
    digits = f"{time.time_ns() // 1_000_000:012x}"
    return f"{digits[:8]}-{digits[8:]}"


def _key(moment: str, noise: str) -> str:
    return f"{moment}-7{noise[:3]}-a{noise[3:6]}-{noise[6:]}"
