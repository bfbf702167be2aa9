"""Which secrets are easy to guess. Pure."""

import re

FEWEST_CHARACTERS = 6
# What stands in documentation, and what people write in a hurry.
_SAMPLES = re.compile(
    r"change_?me|changeit|passw(or)?d|pa55w|letmein|qwerty|^(1234|abcd)|admin|example|sample|default|dummy|your|test"
    r"|s[e3]cr[e3]t|t[o0]ken|hunter2|correct.?horse|battery.?staple|…|^x+$|^\.+$|todo",
    re.IGNORECASE,
)
_LONG = 32  # characters; a secret this long may contain such a word


def weakness(secret: str, *, least: int) -> str | None:
    """Why `secret` is weak, as the end of a sentence; None if it is not. `least` is in characters."""
    if len(secret) < least:
        return f"it has {len(secret)} characters and needs at least {least}"
    if len(set(secret)) < FEWEST_CHARACTERS:
        return "it repeats a few characters"
    if len(secret) < _LONG and _SAMPLES.search(secret):
        return "it looks like a sample"
    return None
