"""Requests of HTTP/1.1 whose framing is mutated: lengths, codings, chunks and single bytes; and the answers to them."""

import json
import re
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random

TOKEN = "fuzz-9f3a61c8"
_MARKER = re.compile(rb"93(\d{7})(\d{4})")
LINE = b"\r\n"
_STATUS = re.compile(rb"HTTP/1\.\d (\d{3}) ")


@dataclass(slots=True)
class Request:
    """The parts of a request."""

    method: bytes
    target: bytes
    version: bytes
    headers: list[tuple[bytes, bytes]]
    body: bytes

    def sent(self) -> bytes:
        """Its bytes."""
        lines = [b" ".join(part for part in (self.method, self.target, self.version) if part)]
        lines += [name + b": " + value for name, value in self.headers]
        return LINE.join([*lines, b"", b""]) + self.body


def marker(number: int) -> bytes:
    """A barcode that no other request has, and that its answer repeats."""
    return b"93%07d%04d" % (number, zlib.crc32(b"%07d" % number) % 10_000)


def markers(answer: bytes) -> set[bytes]:
    """The markers in it. A mutation may change a digit, and then the sum is wrong."""
    return {found[0] for found in _MARKER.finditer(answer) if marker(int(found[1])) == found[0]}


def clean(random: Random, mark: bytes, *, last: bool = False) -> Request:
    """A request whose answer repeats `mark`, and nothing is wrong with it."""
    fetch = json.dumps({"barcode": mark.decode()}).encode()
    kind = random.randrange(6)
    target, body = (
        (b"/api/products/" + mark, b""),
        (b"/api/jobs/" + mark, b""),
        (b"/api/jobs/" + mark, fetch),
        (b"/api/jobs/fetch-product", fetch),
        (b"/api/jobs", json.dumps({"type": "FetchProductJob", "payload": json.loads(fetch)}).encode()),
        (b"/api/jobs/fetch-product", fetch),
    )[kind]
    headers = [(b"Host", b"spoils"), (b"Authorization", b"Bearer " + TOKEN.encode())]
    if last:
        headers.append((b"Connection", b"close"))
    if body:
        headers.append((b"Content-Type", b"application/json"))
        if kind == 5:
            headers.append((b"Transfer-Encoding", b"chunked"))
            cut = random.randrange(1, len(body))
            body = chunks(body[:cut], body[cut:])
        else:
            headers.append((b"Content-Length", b"%d" % len(body)))
    return Request(b"POST" if body else b"GET", target, b"HTTP/1.1", headers, body)


def chunks(*parts: bytes) -> bytes:
    """A chunked body."""
    return b"".join([b"%x\r\n%s\r\n" % (len(part), part) for part in parts]) + b"0\r\n\r\n"


LENGTHS = (
    *(b"0", b"1", b"5", b"+5", b"-1", b"0x5", b"5,5", b"5, 6", b" 7", b"1e1", b"9" * 19, b"9" * 40, b"\xb2", b"", b"x"),
    *(b"00000000005", b"5 ", b"5\0", b"5;", b"70000", b"9000000"),
)  # fmt: skip
CODINGS = (
    *(b"chunked", b"Chunked", b"xchunked", b"chunked, identity", b"identity", b"gzip, chunked", b"chunked, chunked"),
    *(b"chunked\x0b", b"\x0bchunked", b" chunked", b'"chunked"', b"chunked;q=1", b"", b",", b"br", b"chunked,"),
)  # fmt: skip
SIZES = (
    *(b"0005", b"5;ext=1", b'5;a="\r\n"', b"5 ", b" 5", b"0x5", b"+5", b"-5", b"F" * 16, b"F" * 200, b"", b"g", b"5\0"),
    *(b"00", b"5;" + b"a" * 9_000, b"5\n", b"ffff"),
)  # fmt: skip
INSERTED = (
    b"\r",
    b"\n",
    b"\r\n",
    b"\r\n\r\n",
    b"\0",
    b" ",
    b"\t",
    b":",
    b"\xff",
    b"\x80",
    b"%",
    b"0\r\n\r\n",
)


def mutated(random: Random, request: Request, smuggled: bytes) -> bytes:
    """The bytes of a request after a few mutations; `smuggled` is a request that may stand in its body."""
    for _ in range(random.choice((0, 1, 1, 1, 2, 3))):
        random.choice(_PARTS)(random, request, smuggled)
    sent = request.sent()
    return random.choice(_BYTES)(random, sent) if random.random() < 0.5 else sent


def _repeat(random: Random, request: Request, _: bytes) -> None:
    request.headers += [random.choice(request.headers or [(b"X", b"1")])] * random.choice((1, 1, 2, 150))


def _drop(random: Random, request: Request, _: bytes) -> None:
    if request.headers:
        request.headers.pop(random.randrange(len(request.headers)))


def _length(random: Random, request: Request, _: bytes) -> None:
    if random.random() < 0.5:
        request.headers = [one for one in request.headers if one[0] != b"Content-Length"]
    name = random.choice((b"Content-Length", b"content-length", b"CONTENT-LENGTH"))
    request.headers.insert(random.randrange(len(request.headers) + 1), (name, random.choice(LENGTHS)))


def _coding(random: Random, request: Request, _: bytes) -> None:
    at = random.randrange(len(request.headers) + 1)
    request.headers.insert(at, (b"Transfer-Encoding", random.choice(CODINGS)))
    if random.random() < 0.5:
        request.body = chunks(request.body)


def _size(random: Random, request: Request, _: bytes) -> None:
    request.headers = [
        one for one in request.headers if one[0] not in (b"Content-Length", b"Transfer-Encoding")
    ]
    request.headers.append((b"Transfer-Encoding", b"chunked"))
    ends = (
        b"0\r\n\r\n",
        b"0\r\nX: y\r\n\r\n",
        b"0\r\nContent-Length: 5\r\n\r\n",
        b"0\r\n",
        b"",
        b"0\n\n",
        b"00\r\n\r\n",
    )
    line = random.choice((LINE, LINE, b"\n", b"\r", b""))
    request.body = random.choice(SIZES) + line + request.body[:5] + line + random.choice(ends)


def _smuggle(random: Random, request: Request, smuggled: bytes) -> None:
    """A length or a coding ends the body before a second request in it, or does so for one of two readers."""
    ends = random.choice((b"", b"0\r\n\r\n", request.body))
    request.body = ends + smuggled
    request.method = random.choice((b"POST", b"GET"))
    lengths = (len(ends), len(request.body), 0, len(ends) + 1)
    request.headers += random.choice(
        (
            [(b"Content-Length", b"%d" % random.choice(lengths))],
            [(b"Content-Length", b"%d" % random.choice(lengths)), (b"Transfer-Encoding", random.choice(CODINGS))],
            [(b"Transfer-Encoding", random.choice(CODINGS))],
            [(b"Content-Length", b"%d" % random.choice(lengths)), (b"Content-Length", b"%d" % random.choice(lengths))],
        )
    )  # fmt: skip


_PARTS: tuple[Callable[[Random, Request, bytes], None], ...] = (
    _repeat,
    _drop,
    _length,
    _coding,
    _size,
    _smuggle,
    _smuggle,
)


def _flip(random: Random, sent: bytes) -> bytes:
    at = random.randrange(len(sent))
    return sent[:at] + bytes([random.randrange(256)]) + sent[at + 1 :]


def _cut(random: Random, sent: bytes) -> bytes:
    return sent[: random.randrange(len(sent))]


def _delete(random: Random, sent: bytes) -> bytes:
    at = random.randrange(len(sent))
    return sent[:at] + sent[at + random.choice((1, 2, 8, 40)) :]


def _double(random: Random, sent: bytes) -> bytes:
    at = random.randrange(len(sent))
    return sent[: at + 20] + sent[at:]


def _insert(random: Random, sent: bytes) -> bytes:
    at = random.randrange(len(sent))
    return sent[:at] + random.choice(INSERTED) + sent[at:]


def _bare_lines(random: Random, sent: bytes) -> bytes:
    return sent.replace(LINE, random.choice((b"\n", b"\r")), random.choice((-1, 1, 3)))


_BYTES: tuple[Callable[[Random, bytes], bytes], ...] = (_flip, _cut, _delete, _double, _insert, _bare_lines)


def answers(got: bytes) -> Iterator[tuple[int, bytes]]:
    """The status and all bytes of each answer on a connection; 0 of what is none, as the bare page of HTTP/0.9."""
    at = 0
    while at < len(got):
        status = _STATUS.match(got, at)
        if not status:
            yield 0, got[at:]
            return
        end = _end_of(got, at)
        yield int(status[1]), got[at:end]
        at = end


def _end_of(got: bytes, at: int) -> int:
    head_end = got.find(b"\r\n\r\n", at) + 4
    if head_end < 4:
        return len(got)
    head = got[at:head_end].lower()
    # The answer to a HEAD has the length of a body, and none.
    if _STATUS.match(got, head_end) or int(got[at + 9 : at + 12]) in (100, 204, 304):
        return head_end
    if length := re.search(rb"\r\ncontent-length: (\d+)\r\n", head):
        return min(len(got), head_end + int(length[1]))
    if b"\r\ntransfer-encoding: chunked\r\n" in head:
        found = got.find(b"\r\n0\r\n\r\n", head_end - 2)
        return len(got) if found < 0 else found + 7
    return len(got)
