"""Rows as CSV, as the commands and the exports of the pages write it."""

import csv
import json
from collections.abc import Iterable, Sequence
from typing import Any

# A spreadsheet takes a cell that begins so for a formula.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def write_csv(head: Sequence[str], rows: Iterable[Sequence[Any]], out: Any) -> None:
    """Write rows as CSV, as they come; without a `head` where it is empty."""
    writer = csv.writer(out, lineterminator="\n")
    if head:
        writer.writerow(head)
    for row in rows:
        writer.writerow(csv_row(row))


def csv_row(values: Sequence[Any]) -> list[str]:
    """The cells of a row. A text that a spreadsheet would take for a formula gets an apostrophe before it."""
    texts = ["" if value is None else str(value) for value in values]
    return [f"'{text}" if text.startswith(_FORMULA) else text for text in texts]


def compact(value: Any) -> str:
    """A JSON value in one line."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True)
