"""Secrets in a table of text: the lines below a header that names one, as in CSV or in what psql prints. Pure."""

import re
from collections.abc import Iterator

from spoils.masking.names import secret

Span = tuple[int, int]

_CELL = r"[ ]{0,60}+\"?[A-Za-z_][\w.-]{0,60}+\"?[ ]{0,60}+"
_HEADER = re.compile(
    rf"^{_CELL}(?P<separator>[,;|\t]){_CELL}(?:(?P=separator){_CELL}){{0,30}}+\r?$", re.MULTILINE
)
# The line that psql and Markdown draw below a header.
_RULE = re.compile(r"[-+|=: ]+")


def found(text: str) -> Iterator[Span]:
    """The cells of each secret column, as long as the lines have as many cells as the header."""
    at = 0
    while header := _HEADER.search(text, at):
        at = header.end()
        separator = header["separator"]
        names = header[0].split(separator)
        secrets = [column for column, name in enumerate(names) if secret(name)]
        while secrets and (line := _line(text, at + 1)):
            cells = line.split(separator)
            if len(cells) == len(names):
                starts = [at + 1 + sum(len(cell) + 1 for cell in cells[:column]) for column in secrets]
                yield from (
                    (start, start + len(cells[column])) for start, column in zip(starts, secrets, strict=True)
                )
            elif not _RULE.fullmatch(line):
                break
            at += 1 + len(line)


def _line(text: str, start: int) -> str:
    end = text.find("\n", start)
    return text[start : end if end >= 0 else len(text)]
