"""How long a failed task waits for its next attempt."""

import math
from collections.abc import Callable

LONGEST_SECONDS = 7 * 24 * 3600.0
JITTER = 0.1


def exponential(attempt: int, first_seconds: float = 60.0) -> float:
    """Seconds to wait after `attempt`, which counts from 0: 60, 120, 240 … and never past seven days."""
    # 2**attempt of a large attempt is beyond a float, and ten doublings of a minute are past the cap anyway.
    return min(first_seconds * 2.0 ** min(attempt, 64), LONGEST_SECONDS)


def clamp(seconds: object) -> float:
    """Whatever a class's `backoff` answered, as seconds from 0 to seven days; nonsense becomes the default minute."""
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        return 60.0
    if isinstance(seconds, float) and math.isnan(seconds):
        return 60.0
    return float(min(max(seconds, 0), LONGEST_SECONDS))


def jittered(seconds: float, random: Callable[[], float]) -> float:
    """`seconds` plus up to a tenth, so that a thousand failures do not come back as one."""
    return min(seconds * (1 + JITTER * random()), LONGEST_SECONDS)
