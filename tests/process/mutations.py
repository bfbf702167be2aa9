"""Requests of HTTP/1.1 as bytes, with their mutations, and the answers to them taken apart."""

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


METHODS = (
    *(b"HEAD", b"OPTIONS", b"PUT", b"PATCH", b"DELETE", b"TRACE", b"CONNECT", b"PRI", b"get", b"G\0T", b"GE T"),
    *(b"", b"\xff", b"A" * 300, b"GET\t", b"POST\r\n", b"PROPFIND", b"PURGE", b"M-SEARCH"),
)  # fmt: skip
TARGETS = (
    *(b"/", b"*", b"", b"//", b"/.", b"/..", b"/%2e%2e/%2e%2e/etc/passwd", b"/static/..%2fapp.py", b"/%00", b"/\0"),
    *(b"/%", b"/%zz", b"/%ff%fe", b"/\xff\xfe", b"/jobs?q=%00", b"/jobs?" + b"a=1&" * 500, b"/" + b"a" * 5_000),
    *(b"http://elsewhere.example/api/jobs/status", b"http:///health", b"http://[", b"elsewhere.example:443", b"/a b"),
    *(b"/health#x", b"/health?x#y", b"/health;a=b", b"\\health", b"/health\\..", b"/health/", b"//elsewhere.example/"),
    *(b"/api//jobs/status", b"/api/jobs/./status", b"/api/jobs/../jobs/status", b"/API/jobs/status", b"/api%2fjobs"),
    *(b"/api/jobs/status?wait=1e9", b"/api/jobs?limit=-1", b"/api/jobs?older=%ff", b"/jobs?state=%F0%9F", b"/login"),
    *(b"/openapi.json", b"/api/docs", b"/static/spoils.css", b"/favicon.ico", b"/enqueue/x?again=1", b"/\r\nX: y"),
)  # fmt: skip
VERSIONS = (
    *(b"HTTP/1.0", b"HTTP/0.9", b"HTTP/1.2", b"HTTP/2.0", b"HTTP/3", b"http/1.1", b"HTTP/1.1 ", b"HTTP/1", b""),
    *(b"HTTP/11", b"HTTP/1.10", b"HTTPS/1.1", b"HTTP/1.1\0", b"HTTP/-1.1", b"ICY", b"HTTP/1.1 x"),
)  # fmt: skip
LENGTHS = (
    *(b"0", b"1", b"5", b"+5", b"-1", b"0x5", b"5,5", b"5, 6", b" 7", b"1e1", b"9" * 19, b"9" * 40, b"\xb2", b"", b"x"),
    *(b"00000000005", b"5 ", b"5\0", b"5;", b"70000", b"9000000"),
)  # fmt: skip
CODINGS = (
    *(b"chunked", b"Chunked", b"xchunked", b"chunked, identity", b"identity", b"gzip, chunked", b"chunked, chunked"),
    *(b"chunked\x0b", b"\x0bchunked", b" chunked", b'"chunked"', b"chunked;q=1", b"", b",", b"br", b"chunked,"),
)  # fmt: skip
HEADERS = (
    *((b"Host", value) for value in (b"", b"elsewhere.example", b"a..b", b"[", b"a:99999", b"\xff", b"a b", b"a,b")),
    *((b"Connection", value) for value in (b"close", b"keep-alive", b"upgrade", b"Content-Length", b"x,,", b"\0")),
    *((b"Expect", value) for value in (b"100-continue", b"a miracle", b"")),
    *((b"Content-Type", value) for value in (b"", b"/", b"text/plain", b"multipart/form-data; boundary=x", b"\xff")),
    *((b"Content-Encoding", value) for value in (b"gzip", b"br", b"\xff")),
    *((b"Upgrade", value) for value in (b"h2c", b"websocket")),
    *((b"X-Forwarded-For", value) for value in (b"1.2.3.4", b",,", b"\xff", b"[::1]")),
    *((b"X-Forwarded-Proto", value) for value in (b"https", b"https, http", b"x")),
    *((b"Cookie", value) for value in (b"spoils_session=a.b.c", b"=;=", b"\xff=\xff", b"a" * 4_000)),
    *((b"Authorization", value) for value in (b"", b"Bearer x", b"Basic \xff", b"Digest a=")),
    *((b"Idempotency-Key", value) for value in (b"", b"a" * 400, b"same")),
    *((b"Range", value) for value in (b"bytes=0-0,1-1", b"bytes=-", b"x")),
    *((b"Origin", value) for value in (b"http://[", b"null", b"http://elsewhere.example")),
    *((b"If-None-Match", value) for value in (b"*", b'W/"', b"\xff")),
    *((b"Trailer", b"X"), (b"TE", b"trailers"), (b"SCRIPT_NAME", b"/x"), (b"Content_Length", b"3"), (b"", b"x")),
    *((b"X Y", b"1"), (b"X\0", b"1"), (b"\xff", b"1"), (b"X", b"\0"), (b"X", b"a\r\n b"), (b"X", b"a\rb")),
    *((b"X" * 9_000, b"1"), (b"X", b"a" * 9_000), (b"Content-Length ", b"3"), (b"Transfer-Encoding ", b"chunked")),
    *((b" X", b"1"), (b"\tContent-Length", b"3"), (b"X: 1\r\nContent-Length", b"3"), (b"X:", b"1")),
)  # fmt: skip
SIZES = (
    *(b"0005", b"5;ext=1", b'5;a="\r\n"', b"5 ", b" 5", b"0x5", b"+5", b"-5", b"F" * 16, b"F" * 200, b"", b"g", b"5\0"),
    *(b"00", b"5;" + b"a" * 9_000, b"5\n", b"ffff"),
)  # fmt: skip
BODIES = (
    *(b"", b"{", b"[]", b"null", b'"', b"{}" * 99, b"[" * 999, b'{"a":' * 99, b"\xff\xfe{\0}\0", b"\xef\xbb\xbf{}"),
    *(b'{"barcode": 1e999}', b'{"barcode": ' + b"9" * 5_000 + b"}", b'{"barcode": "\\ud800"}'),
    *(b'{"barcode": "1", "barcode": "2"}', b'{"barcode": NaN}', b'{"type": {}}', b"a" * 70_000, b"a=b&c=%ff"),
    b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\nb\r\n--x--',
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
    """The bytes of a request after one to three mutations; `smuggled` is a request that may stand in its body."""
    for _ in range(random.choice((1, 1, 1, 2, 3))):
        random.choice(_PARTS)(random, request, smuggled)
    sent = request.sent()
    return random.choice(_BYTES)(random, sent) if random.random() < 0.3 else sent


def _method(random: Random, request: Request, _: bytes) -> None:
    request.method = random.choice(METHODS)


def _target(random: Random, request: Request, _: bytes) -> None:
    odd = random.choice(TARGETS)
    request.target = random.choice((odd, request.target + odd, odd + request.target, request.target.upper()))


def _version(random: Random, request: Request, _: bytes) -> None:
    request.version = random.choice(VERSIONS)


def _header(random: Random, request: Request, _: bytes) -> None:
    request.headers.insert(random.randrange(len(request.headers) + 1), random.choice(HEADERS))


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


def _body(random: Random, request: Request, _: bytes) -> None:
    body = random.choice(BODIES)
    honest = random.random() < 0.7
    request.headers = [
        (name, b"%d" % len(body) if honest and name == b"Content-Length" else value)
        for name, value in request.headers
    ]
    request.body = body


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
    *(_method, _target, _version, _header, _header, _header, _repeat, _drop, _length, _coding, _size, _body, _body),
    *(_smuggle, _smuggle),
)  # fmt: skip


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
