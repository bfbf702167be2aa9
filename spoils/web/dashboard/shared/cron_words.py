"""A cron expression in plain words. Pure."""

import re

from spoils.job.cron import Cron, CronError

_DAILY = re.compile(r"At (\d\d:\d\d(?::\d\d)?) every day")
_HOURLY = re.compile(r"At minute (\d+) (?:of|past) every hour")


def describe(expression: str) -> str:
    """ "Every day at 02:00"; the expression itself if it cannot be parsed."""
    try:
        words = Cron(expression).explain()
    except CronError:
        return expression
    if found := _DAILY.fullmatch(words):
        return f"Every day at {found[1]}"
    if found := _HOURLY.fullmatch(words):
        return f"Every hour at minute {found[1]}"
    return words
