"""Finding secrets in texts: by the names that stand with them, and by their forms. Pure.

Each search takes linear time, whatever the text is: what may repeat is possessive or bounded, and each search begins at
what it cannot begin at again.
"""

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from typing import Any

from spoils.masking import columns, forms
from spoils.masking.names import UNSEEN, plain, secret

MASK = "••••••"
_LETTER = rf"A-Za-z0-9_.{UNSEEN}-"
_MARKS = r"\\*+(?:[\"'\])]|&quot;|&#3[49];|&#x2[27];|%(?:25)?2[27])"
_BLANK = r"(?:[ \t]|%(?:25)?20|\+(?=%))*+"
# A name and the sign between it and its value. The lookbehind lets a search begin once for each word, and not again at
# each of its letters, so that a long text takes linear time.
_NAMED = re.compile(
    rf"(?:(?<![{_LETTER}])|(?<=%[0-9A-Fa-f]{{2}})|(?<=%25[0-9A-Fa-f]{{2}}))"
    rf"(?P<name>[A-Za-z_.-][{_LETTER}]*+(?: (?:key|code|id|word|phrase)\b)?)"
    rf"(?:{_MARKS}){{0,2}}"
    rf"(?:{_BLANK}(?:=>?|:=|(?P<colon>:)|->|(?<=-)>|%(?:25)?3[AD]){_BLANK}(?P<block>[|>]?[+-]?\r?\n(?=[ \t-]))?"
    rf"|(?P<comma>{_BLANK},{_BLANK}(?=[bBuUrRfF]{{0,2}}\\*+[\"']))|(?P<gap>[ \t]+))"
)
# As one of these a name has a value of several parts, up to the end of the line.
_LINE_VALUED = re.compile(r"authori[sz]ation|cookie|phrase|mnemonic", re.IGNORECASE)
_CRUMBS = re.compile(r"cookies?", re.IGNORECASE)
# What a cookie of HTTP has, and a recipe has not: a sign, or a long word of letters and digits.
_BAKED = re.compile(r"=|\b(?=\w*[A-Za-z])(?=\w*\d)[\w-]{6,}")
_PREFIX = re.compile(r"[bBuUrRfF]{0,2}")
_QUOTE = re.compile(r"(?P<escape>\\*+)(?P<mark>\"\"\"|'''|[\"']|&quot;|&#3[49];|&#x2[27];|%(?:25)?2[27])")
_CLOSING = {mark: re.compile(rf"\\.|{mark}", re.DOTALL) for mark in ("'", '"', "'''", '"""')}
_INSIDE = re.compile(r"(?<!\\)\\*+[\"']|[\[\]{}()]")
_CLOSERS = {"[": "]", "{": "}", "(": ")"}
# A semicolon is part of a value without quotes, unless another name or a blank follows it.
_SEMICOLON = r";(?=[\w. -]{0,40}=|[\s\"']|$)"
# What ends a value without quotes. A comma or a bracket at its end is the sentence's.
_BARE = re.compile(rf"(?:(?!{_SEMICOLON})[^\s\"'&<>])+?(?=[\\)\]}},.]{{0,5}}(?:[\s\"'&<>]|{_SEMICOLON}|$))")
# After a colon, a word or two about the secret are no secret: "token: expired", "password: not set".
_SAID_OF_IT = re.compile(
    r"(?i)(?:expired|revoked|invalid|incorrect|wrong|missing|required|unknown|empty|unset|rejected|refused|denied|none|null"
    r"|true|false|(?:not|is|was|has|must|should|may|can|field|too)[ ](?:a |be |been )?[a-z]+)(?=[\s.,;:!?)\]}]|$)"
)
_LINE = re.compile(r"[^\r\n]+?(?=[\"']?[\])}]{0,5}(?:[\r\n]|$))")
_MOST_UNCLOSED = 8
"""The most unclosed brackets that are followed to the end of the text; after more, only the line is masked."""
# Of a name with only a space behind it, `--password x` is one, and a sentence is none; but no word has digits in it.
_SAID = re.compile(r"(?i)passw|passphrase|passcode|pwd|token|secret|key|credential|bearer|code")
_MIXED = re.compile(
    r"(?:(?:is|was|to|=|:) )?(?P<secret>"
    r"(?!(?:base|sha|md|utf|oauth|[rhe]s|v|http|ipv)-?\d|/)(?=[^\s\"'<>]*[A-Za-z])(?=[^\s\"'<>]*\d)"
    r"[^\s\"'<>(\[{]{5,400}[^\s\"'<>(\[{\])},.;:])"
)
_CODE = re.compile(r"(?i)(?:pin|otp|cvv|cvc|codes?)$")
_DIGITS = re.compile(r"(?:(?:is|was|to) )?(?P<secret>\d{4,10})\b")
_PASSWORD = re.compile(r"(?i)passw|pwd|passphrase")
_AFTER = re.compile(r"\s*+:")

# {"name": "DB_PASSWORD", "value": "…"} in a text, and {'loc': ('body', 'pin'), 'input': '…'}.
_NAMING = re.compile(
    r"(?<!\\)\\*+[\"'](?:name|key|header|field|id|param|parameter|variable|env|loc)\\*+[\"']\s*+:\s*+"
    r"(?:[\[(](?:[^\])\n]{0,200},\s*+)?)?"
    r"\\*+[\"'](?P<name>[A-Za-z_-][A-Za-z0-9_.-]{0,99})\\*+[\"']"
)
_NAMED_VALUE = re.compile(
    r"(?<!\\)\\*+[\"'](?:value|val|v|data|content|input|string|old|new)\\*+[\"']\s*+:\s*+"
)
_REACH = 500
# <add key="password" value="…"/>, <entry key="password">…</entry> and <password>…</password>
_TAG = re.compile(
    r"(?:<|&lt;)(?P<name>[A-Za-z_][\w.:-]*+)(?P<attributes>(?:\s++[\w.:-]++\s*+=\s*+(?:\"[^\"<]*+\"|'[^'<]*+'))*+)\s*+"
    r"/?(?:>|&gt;)(?:<!\[CDATA\[)?(?P<content>[^<&]*+)"
)
_ATTRIBUTE = re.compile(r"(?P<name>[\w.:-]++)\s*+=\s*+(?P<value>\"[^\"<]*+\"|'[^'<]*+')")
_TAG_NAMES = frozenset(("name", "key", "id", "type", "property", "field"))
_TAG_VALUES = frozenset(("value", "content", "data"))
# The parts of a form that is sent with a file.
_BREAK = r"(?:\r?\n|(?:\\r)?\\n)"
_FORM_DATA = re.compile(
    rf"form-data;[^\n\"]{{0,100}}?name=\\?\"(?P<name>[^\"\\\n]{{1,100}})\\?\"(?:(?!{_BREAK}).){{0,300}}+{_BREAK}"
    rf"(?:(?:(?!{_BREAK}).){{1,300}}+{_BREAK}){{0,3}}+{_BREAK}(?P<secret>(?:(?!{_BREAK}--).)*+)",
    re.DOTALL,
)
# An error of pydantic's, as text: the field's name stands on the line above.
_VALIDATION = re.compile(
    r"^(?P<name>\S[^\n]{0,200})\n {2}[^\n]{0,2000}?\binput_value=(?P<secret>[^\n]*?)(?=, input_type=|$)", re.MULTILINE
)  # fmt: skip
# PostgreSQL's; the whole row has no names.
_KEY = re.compile(
    r"\bKey \((?P<names>[^()\n]{1,1000})\)=\((?P<secret>[^\n]*?)(?=\) (?:already|is |conf)|\n|$)"
)

# Without one of these no pattern finds anything.
_WORDS = """
    auth pass kennwort contrasena secret token key credential session sess cookie signature bearer srf pw psw pin otp cv
    dsn jwt jwk psk sig pat sid mdp senha pem hmac rsa code seed mnemonic assertion connstr conn_ ion_str ionstr saml
    security pword
"""
_SIGNS = (*_WORDS.split(), *forms.SIGNS)
_WORD = re.compile(r"[\w.-]*")
_HIDDEN = re.compile(f"[{UNSEEN}]")


def without_secrets(text: str) -> str:
    """The text with a mask for each secret."""
    return _with_masks(text, _secrets_in(text))


def arguments_without_secrets(arguments: Sequence[Any]) -> list[Any]:
    """The arguments of a command, with a mask for each secret that the command line shows: `["mysql", "-p…"]`."""
    words = [argument if isinstance(argument, str) else "" for argument in arguments]
    starts = list(accumulate((len(word) + 1 for word in words), initial=0))
    inside: list[list[forms.Span]] = [[] for _ in words]
    for begin, end in _secrets_in(" ".join(words)):
        at = bisect_right(starts, begin) - 1
        inside[at].append((begin - starts[at], min(end, starts[at + 1] - 1) - starts[at]))
    return [
        _with_masks(word, spans) if spans else argument
        for argument, word, spans in zip(arguments, words, inside, strict=True)
    ]


def _secrets_in(text: str) -> list[forms.Span]:
    if len(text) < forms.SHORTEST and _WORD.fullmatch(text):
        return []  # as nearly every key and value of a payload is
    searched = plain(text)
    lowered = searched.lower()
    if not _has_a_sign(lowered) and (text.isascii() or not _HIDDEN.search(searched)):
        return []  # as nearly every line of a log is
    brackets = _Brackets(searched)
    return sorted(
        [
            *forms.found(searched, lowered),
            *_by_structure(searched, lowered, brackets),
            *_by_name(searched, brackets),
            *(columns.found(searched) if "\n" in searched else ()),
        ]
    )


def _with_masks(text: str, spans: Iterable[forms.Span]) -> str:
    parts: list[str] = []
    done = 0
    for begin, end in spans:
        if begin >= done and end > begin:
            parts += [text[done:begin], MASK]
        done = max(done, end)
    return "".join([*parts, text[done:]])


def _has_a_sign(lowered: str) -> bool:
    for sign in _SIGNS:  # noqa: SIM110 - a generator would be gone into for each of them
        if sign in lowered:
            return True
    return False


class _Brackets:
    """Where the brackets of a text close. After several that do not, none is looked for: each costs the whole text."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._unclosed = 0

    def end(self, start: int) -> int:
        """After the bracket that closes the one at `start`; else the end of its line.

        A traceback shows the first line of a statement alone.
        """
        found = _end_of_brackets(self._text, start) if self._unclosed < _MOST_UNCLOSED else None
        self._unclosed += found is None
        return found or _end_of(_LINE, self._text, start)


def _by_structure(text: str, lowered: str, brackets: _Brackets) -> Iterator[forms.Span]:
    """Secrets whose names stand elsewhere than just before them."""
    for sign, pattern in (("form-data", _FORM_DATA), ("input_value=", _VALIDATION)):
        if sign in lowered:
            for found in pattern.finditer(text):
                if secret(found["name"]):
                    yield found.span("secret")
    if "key (" in lowered:
        for found in _KEY.finditer(text):
            if any(secret(name) for name in found["names"].split(",")):
                yield found.span("secret")
    if "<" in text or "&lt;" in text:
        for found in _TAG.finditer(text):
            yield from _in_tag(found)
    if '"' in text or "'" in text:
        done = 0
        for found in _NAMING.finditer(text):
            # Else part of a value that is masked already.
            if found.start() >= done and secret(found["name"]):
                for begin, end in _beside(text, found, brackets):
                    yield begin, end
                    done = max(done, end)


def _in_tag(tag: re.Match[str]) -> Iterator[forms.Span]:
    attributes = list(_ATTRIBUTE.finditer(tag["attributes"]))
    named = any(one["name"].lower() in _TAG_NAMES and secret(one["value"]) for one in attributes)
    if (named or secret(tag["name"])) and not tag["content"].isspace():
        yield tag.span("content")
    for one in attributes:
        if named and one["name"].lower() in _TAG_VALUES:
            yield tag.start("attributes") + one.start("value"), tag.start("attributes") + one.end("value")


def _beside(text: str, naming: re.Match[str], brackets: _Brackets) -> Iterator[forms.Span]:
    """The value in the object in which `naming` is."""
    begin, end = naming.span()
    opened = max(0, begin - _REACH, text.rfind("{", max(0, begin - _REACH), begin))
    closed = text.find("}", end, end + _REACH)
    for stretch in ((opened, begin), (end, closed if closed >= 0 else end + _REACH)):
        if value := _NAMED_VALUE.search(text, *stretch):
            yield value.end(), _end_of_value(text, value.end(), brackets)


def _by_name(text: str, brackets: _Brackets) -> Iterator[forms.Span]:
    done = 0
    eaten = 0
    for found in _NAMED.finditer(text):
        name = found["name"]
        # Part of a value that is masked already; the n of a written-out \n may stand before a name.
        if found.start() < done or not (secret(name) or (_escaped(text, found.start()) and secret(name[1:]))):
            continue
        start = end = found.end()
        if found["gap"]:
            start, end = _after_gap(text, start, name, brackets)
        elif found["block"]:
            end = _end_of_block(text, found.start(), start)
        elif found["colon"] and not _LINE_VALUED.search(name) and _SAID_OF_IT.match(text, start):
            continue
        elif text[start : start + 1] in _CLOSERS and not _LINE_VALUED.search(name):
            end = brackets.end(start)
        else:
            if _CRUMBS.fullmatch(name) and not _QUOTE.match(text, start):
                # A line is looked through once, however many cookies it names.
                eaten = eaten if start < eaten else _end_of_sentence(text, start)
                if start < eaten:
                    continue
            end = _end_of_value(text, start, brackets, whole_line=bool(_LINE_VALUED.search(name)))
        # `"name": "token", "value": …` is no pair.
        if end > start and not (found["comma"] and _AFTER.match(text, end)):
            yield start, end
            done = end


def _escaped(text: str, start: int) -> bool:
    return start > 0 and text[start - 1] == "\\" and text[start] in "nrt"


def _end_of_sentence(text: str, start: int) -> int:
    """The end of a line about cookies to eat, else `start`."""
    end = _end_of(_LINE, text, start)
    return start if _BAKED.search(text[start:end]) else end


def _after_gap(text: str, start: int, name: str, brackets: _Brackets) -> forms.Span:
    if name.startswith("-") or (_PASSWORD.search(name) and _QUOTE.match(text, start)):
        return start, _end_of_value(text, start, brackets)
    if (_SAID.search(name) and (found := _MIXED.match(text, start))) or (
        _CODE.search(name) and (found := _DIGITS.match(text, start))
    ):
        return found.span("secret")
    return start, start


def _end_of_block(text: str, name: int, start: int) -> int:
    """After the lines that are indented more than the line with the name, or are items of a list."""
    line = text[text.rfind("\n", 0, name) + 1 : name]
    indent = len(line) - len(line.lstrip())
    end = start
    while end < len(text):
        line_end = text.find("\n", end)
        line_end = len(text) if line_end < 0 else line_end
        line = text[end:line_end]
        deeper = len(line) - len(line.lstrip()) - indent
        if line.strip() and not (deeper > 0 or (deeper == 0 and line.lstrip().startswith("- "))):
            return max(start, end - 1)
        end = line_end + 1
    return len(text)


def _end_of_value(text: str, start: int, brackets: _Brackets, *, whole_line: bool = False) -> int:
    """Where the value that begins at `start` ends."""
    if quoted := _QUOTE.match(text, _end_of(_PREFIX, text, start)):
        return _end_of_quoted(text, quoted)
    if text[start : start + 1] in _CLOSERS and not whole_line:
        return brackets.end(start)
    return _end_of(_LINE if whole_line else _BARE, text, start)


def _end_of(pattern: re.Pattern[str], text: str, start: int) -> int:
    found = pattern.match(text, start)
    return found.end() if found else start


def _end_of_quoted(text: str, opened: re.Match[str]) -> int:
    """After the closing quote, which is escaped as often as the opening one; the end where there is none."""
    if opened["escape"] or len(opened["mark"]) > 3 or opened["mark"][0] == "%":
        end = text.find(opened[0], opened.end())
        while end > 0 and text[end - 1] == "\\":
            end = text.find(opened[0], end + len(opened[0]))
        return len(text) if end < 0 else end + len(opened[0])
    for found in _CLOSING[opened["mark"]].finditer(text, opened.end()):
        if found[0] == opened[0]:
            return found.end()
    return len(text)


def _end_of_brackets(text: str, start: int) -> int | None:
    """After the bracket that closes the one at `start`, quotes aside; None where none does."""
    open_ones: list[str] = []
    at = start
    while found := _INSIDE.search(text, at):
        if quoted := _QUOTE.match(text, found.start()):
            at = _end_of_quoted(text, quoted)
            continue
        at = found.end()
        if found[0] in _CLOSERS:
            open_ones.append(_CLOSERS[found[0]])
        elif open_ones and found[0] == open_ones[-1]:
            open_ones.pop()
            if not open_ones:
                return at
    return None
