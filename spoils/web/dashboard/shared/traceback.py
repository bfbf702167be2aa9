"""A Python traceback in parts: application frames are shown, runs of library frames are collapsed. Pure."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from spoils.web.dashboard.shared.formats import plural

_FRAME = re.compile(
    r'^  File "(?P<path>[^"\n]+)", line (?P<line>\d+)(?:, in (?P<function>.+))?$', re.MULTILINE
)
_LIBRARY = re.compile(r"(?:^|/)(?:site-packages|dist-packages|lib/python\d[^/]*)/|^<frozen ")
_MARKS = re.compile(r"[\^~\s]+")
_PACKAGE = re.compile(r"(?:site|dist)-packages/([^/.]+)")


@dataclass(frozen=True, slots=True)
class Frame:
    """One call: its place and its line of code."""

    path: str
    line: str
    function: str
    code: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a traceback: application frames, library frames with the label that stands for them, or other text."""

    frames: tuple[Frame, ...] = ()
    folded: str = ""
    words: str = ""


def parse(text: str | None) -> tuple[Part, ...]:
    """The parts of a traceback in their order; text that is no traceback is one part."""
    if not text or not text.strip():
        return ()
    found: list[Part] = []
    for item, library in _items(text.rstrip().splitlines()):
        last = found[-1] if found else None
        if isinstance(item, str):
            if last and last.words:
                found[-1] = Part(words=f"{last.words}\n{item}")
            elif item.strip():
                found.append(Part(words=item))
        elif last and last.frames and bool(last.folded) == library:
            found[-1] = Part(frames=(*last.frames, item), folded=last.folded)
        else:
            found.append(Part(frames=(item,), folded="library" if library else ""))
    return tuple(Part(part.frames, _label(part.frames)) if part.folded else part for part in found)


def last_application_frame(text: str | None) -> Frame | None:
    """The innermost frame that is not of a library, without its code."""
    for head in reversed(list(_FRAME.finditer(text or ""))):
        if not _LIBRARY.search(head["path"]):
            return Frame(_short(head["path"]), head["line"], head["function"] or "", ())
    return None


def _items(lines: list[str]) -> Iterator[tuple[Frame | str, bool]]:
    at = 0
    while at < len(lines):
        head = _FRAME.fullmatch(lines[at])
        at += 1
        if head is None:
            if lines[at - 1].strip() != "Traceback (most recent call last):":
                yield lines[at - 1], False
            continue
        code: list[str] = []
        while at < len(lines) and lines[at].startswith("    "):
            if not _MARKS.fullmatch(lines[at]):
                code.append(lines[at].strip())
            at += 1
        path, function = head["path"], head["function"] or ""
        yield Frame(_short(path), head["line"], function, tuple(code)), _LIBRARY.search(path) is not None


def _short(path: str) -> str:
    library = _PACKAGE.search(path)
    if library:
        return path[library.start(1) :]
    ours = path.rfind("/spoils/")
    return path[ours + 1 :] if ours >= 0 else path


def _label(frames: tuple[Frame, ...]) -> str:
    paths = [frame.path for frame in frames if not frame.path.startswith(("/", "<"))]
    names = list(dict.fromkeys(path.partition("/")[0] for path in paths))
    of = " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names) or "Python"
    return f"{plural(len(frames), 'frame')} of {of}"
