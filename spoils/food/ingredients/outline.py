"""The nesting of a label's text: brackets, sentences, and groups such as `name: a, b.`"""

import re
from dataclasses import dataclass, field
from itertools import pairwise

from spoils.food.ingredients.functions import akin, function_of, split_function
from spoils.food.ingredients.lexing import Kind, tokens
from spoils.food.ingredients.recognise import additive_code, additive_entry, is_additive_name, recognised
from spoils.food.ingredients.vocabulary import phrases

MAX_DEPTH = 8
MAX_ENTRIES = 600
_CONJUNCTIONS = {word.casefold() for word in phrases("conjunctions")}
# "carbonates de sodium et d'ammonium" and "sodium and ammonium carbonates" are two of each.
_SHARED_HEAD = re.compile(r"(\w+?)s? (d'|\w{2,3} )(\w+) (\w{1,2}) (d'|\w{2,3} )?(\w+)", re.IGNORECASE)
# "Natrium- und Ammoniumcarbonat"
_SHARED_COMPOUND = re.compile(r"(\w+)- (\w{1,3}) (\w{6,40})", re.IGNORECASE)
_SHARED_END = re.compile(r"(\w+) (\w{1,3}) (\w+) (\w+?)s?", re.IGNORECASE)


@dataclass
class Entry:
    """One name of the list, with what stands in its brackets or behind its colon."""

    text: str = ""
    children: list["Entry"] = field(default_factory=list)
    #: What ended it.
    end: Kind = "comma"

    @property
    def blank(self) -> bool:
        """True where there is nothing in it."""
        return not self.text and not self.children

    def all_text(self) -> str:
        """Its words and its children's, as they were read."""
        return ", ".join(filter(None, [self.text, *(child.all_text() for child in self.children)]))


def sentences(text: str) -> list[list[Entry]]:
    """Read the brackets; one list of entries a sentence, the colons not yet looked at."""
    done: list[list[Entry]] = [[]]
    open_lists: list[list[Entry]] = [done[0]]
    current = Entry()
    parents: list[Entry] = []
    too_deep = count = 0

    def close(kind: Kind) -> None:
        nonlocal current
        if not current.blank:
            current.end = kind
            open_lists[-1].append(current)
        elif kind == "semicolon" and open_lists[-1]:
            open_lists[-1][-1].end = kind
        current = Entry()

    for kind, words in tokens(text):
        if kind == "text":
            count += 1
            if count > MAX_ENTRIES:
                break
            first, _, following = words.partition(" ")
            if current.children and following and first.casefold() in _CONJUNCTIONS:
                # "sauce (tomato, salt) and water" are two.
                close("comma")
                words = following
            current.text = f"{current.text} {words}".strip()
        elif kind == "open" and len(parents) >= MAX_DEPTH:
            too_deep += 1
            close("comma")
        elif kind == "open":
            parents.append(current)
            open_lists.append(current.children)
            current = Entry()
        elif kind == "close" and (too_deep or not parents):
            too_deep = max(0, too_deep - 1)
        elif kind == "close":
            close("comma")
            open_lists.pop()
            current = parents.pop()
        elif kind == "stop" and not parents:
            close("stop")
            done.append([])
            open_lists[0] = done[-1]
        else:
            close("comma" if kind == "stop" else kind)
    while parents:
        close("comma")
        open_lists.pop()
        current = parents.pop()
    close("stop")
    return [sentence for sentence in done if sentence]


def grouped(entries: list[Entry]) -> list[Entry]:
    """Put what follows a colon, or a function such as `emulsifiers`, under it."""
    pending = _split_up(entries)
    colons_separate = _colons_separate(pending)
    semicolons = any(entry.end == "semicolon" for entry in pending)
    result: list[Entry] = []
    at = 0
    while at < len(pending):
        head = pending[at]
        at += 1
        result.append(head)
        if head.end != "colon":
            continue
        function = function_of(head.text)
        if colons_separate and not function:
            continue
        first = at
        at = _end_of_group(pending, first, function, semicolons)
        members = pending[first:at]
        if members and not function:
            members = grouped(members)
        head.children.extend(members)
        head.end = members[-1].end if members else "comma"
    return result


def _end_of_group(pending: list[Entry], first: int, function: str | None, semicolons: bool) -> int:
    at = first
    while at < len(pending):
        entry = pending[at]
        if (
            entry.end == "colon"
            and (function or not function_of(entry.text))
            and not (function and at == first)
        ):
            return at
        if function and at > first and not semicolons and not _belongs(entry, function):
            return at
        at += 1
        if entry.end == "semicolon":
            return at
    return at


def _belongs(entry: Entry, function: str) -> bool:
    """After `emulsifiers: E322,` more additives that may be emulsifiers are taken to be meant."""
    code = additive_code(entry.text, under=function)
    usual = additive_entry(code)[1] if code else None
    return usual is not None and akin(usual, function)


def _colons_separate(entries: list[Entry]) -> bool:
    """Some labels are typed with colons where commas should be."""
    colons = sum(entry.end == "colon" for entry in entries)
    return colons > 3 and colons > 2 * (len(entries) - colons)


def _split_up(entries: list[Entry]) -> list[Entry]:
    """Take `Farbstoff E150d` and `acesulfame K e aspartame` apart."""
    result: list[Entry] = []
    for entry in entries:
        split = (
            None if function_of(entry.text) or is_additive_name(entry.text) else split_function(entry.text)
        )
        if split and (additive_code(split[1], under=function_of(split[0])) or _joined(split[1])):
            result.append(Entry(text=split[0], end="colon"))
            entry = Entry(text=split[1], children=entry.children, end=entry.end)
        names = _joined(entry.text, functions=entry.end == "colon") or _shared(entry.text) or [entry.text]
        result += [Entry(text=name) for name in names[:-1]]
        result.append(Entry(text=names[-1], children=entry.children, end=entry.end))
    return result


def _joined(text: str, *, functions: bool = False) -> list[str] | None:
    """The names in `acesulfame K e aspartame`, if each is known; before a colon the last may be a function."""
    words = text.split()
    cuts = [at for at, word in enumerate(words) if word.casefold() in _CONJUNCTIONS]
    if not cuts or len(cuts) > 5:
        return None
    edges = [-1, *cuts, len(words)]
    names = [" ".join(words[a + 1 : b]) for a, b in pairwise(edges)]
    if all("%" in name for name in names):
        return names
    known = all(recognised(name) for name in names[:-1])
    return names if known and (recognised(names[-1]) or (functions and function_of(names[-1]))) else None


def _shared(text: str) -> list[str] | None:
    """The two additives of `carbonates de sodium et d'ammonium`, if both are known."""
    names: list[str] = []
    if found := _SHARED_HEAD.fullmatch(text):
        head, of, one, conjunction, of_other, other = found.groups()
        names = [f"{head} {of}{one}", f"{head} {of_other or of}{other}"]
    elif found := _SHARED_END.fullmatch(text):
        one, conjunction, other, end = found.groups()
        names = [f"{one} {end}", f"{other} {end}"]
    elif found := _SHARED_COMPOUND.fullmatch(text):
        one, conjunction, other = found.groups()
        compounds = [one + other[at:] for at in range(2, len(other) - 3)]
        names = [next(filter(additive_code, compounds), one), other]
    else:
        return None
    known = conjunction.casefold() in _CONJUNCTIONS and all(
        additive_code(name, under="any") for name in names
    )
    return names if known else None
