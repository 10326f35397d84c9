"""Requests come out of the parser as they were sent, however the bytes are cut, and nothing else passes for one."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haild.http.parser import MOST_LINES, MOST_WITHOUT_EVENT, End, Head, Refusal, RequestParser
from haild.http.requestline import TargetEncoder

LINE = 1 << 14
REQUEST_LIKE = b"GET /\xc3\xa9 HTTP/1.1\r\n\r\nabcd"
"""A body that looks like a request."""

Requests = list[tuple[str, bytes]]


def parsed(*pieces: bytes) -> tuple[Requests, Refusal | None]:
    """The targets and bodies of whole requests, and what ends the conversation."""
    parser, requests, target, body = RequestParser(LINE), [], "", b""
    for piece in pieces:
        for event in parser.feed(piece):
            match event:
                case Head():
                    target, body = event.target, b""
                case bytes():
                    body += event
                case End():
                    requests.append((target, body))
                case Refusal():
                    return requests, event
    return requests, None


def refusal(*pieces: bytes) -> Refusal | None:
    return parsed(*pieces)[1]


@given(st.data())
def test_however_requests_are_cut(data: st.DataObject) -> None:
    expected: Requests = []
    pieces: list[bytes] = []
    for _ in range(data.draw(st.integers(1, 3))):
        name = data.draw(st.text(st.sampled_from("abcéß日"), max_size=6))
        body = data.draw(st.sampled_from([b"", b"\r\n\r\n", REQUEST_LIKE]))
        expected.append((f"/{quote(name)}", body))
        chunked = data.draw(st.booleans())
        framing = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: %d" % len(body)
        if chunked:
            body = (b"%x\r\n%b\r\n" % (len(body), body) if body else b"") + b"0\r\n\r\n"
        whole = b"PUT /%b HTTP/1.1\r\nHost: \xc3\xa9\r\n%b\r\n\r\n%b" % (name.encode(), framing, body)
        # The method comes in one piece: without it, it is no request yet.
        cuts = sorted({4, *data.draw(st.lists(st.integers(4, len(whole)), max_size=4)), len(whole)})
        pieces += [whole[start:end] for start, end in zip([0, *cuts], cuts, strict=False)]
    assert parsed(*pieces) == (expected, None)


def test_requests_in_one_piece() -> None:
    requests = b"\r\nGET /a HTTP/1.1\r\n\r\nPUT /b HTTP/1.1\r\nContent-Length: 3\r\n\r\nabcGET /c HTTP/1.0\r\n\r\n"
    assert parsed(requests) == ([("/a", b""), ("/b", b"abc"), ("/c", b"")], None)


@pytest.mark.parametrize("protocol", ["h2c", "websocket"])
@pytest.mark.parametrize("framing", ["Content-Length: 3", "Transfer-Encoding: chunked", "A: b"])
def test_what_follows_the_wish_for_another_protocol_is_body_or_request(protocol: str, framing: str) -> None:
    head = f"GET /a HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: {protocol}\r\n{framing}\r\n\r\n".encode()
    body = {"C": b"GET", "T": b"3\r\nGET\r\n0\r\n\r\n", "A": b""}[framing[0]]
    data = head + body + b"GET /b HTTP/1.1\r\n\r\n"
    expected = [("/a", b"GET" if body else b""), ("/b", b"")]
    assert parsed(data) == (expected, None)
    for cut in range(len(head) + len(body), len(data)):
        assert parsed(data[:cut], data[cut:]) == (expected, None)
    for cut in range(len(head) + 1, len(head) + len(body)) if framing[0] == "T" else ():
        assert parsed(data[:cut], data[cut:]) == (expected, None)


def test_a_body_that_passes_by_the_parser() -> None:
    parser = RequestParser(LINE)
    head, piece = parser.feed(b"PUT /a HTTP/1.1\r\nContent-Length: 10\r\n\r\nabc")
    assert isinstance(head, Head)
    assert (head.length, piece, parser.body_left, parser.between_requests) == (10, b"abc", 7, False)
    parser.skip_body()
    assert parser.between_requests
    assert isinstance(parser.feed(b"GET /b HTTP/1.1\r\n\r\n")[0], Head)


@pytest.mark.parametrize(
    ("version", "header", "kept"),
    [
        ("1.1", "", True),
        ("1.1", "Connection: close", False),
        ("1.0", "", False),
        ("1.0", "Connection: keep-alive", True),
    ],
)
def test_whether_the_connection_is_kept(version: str, header: str, kept: bool) -> None:
    head = RequestParser(LINE).feed(f"GET / HTTP/{version}\r\n{header or 'A: b'}\r\n\r\n".encode())[0]
    assert isinstance(head, Head)
    assert (head.keep_alive, head.version) == (kept, tuple(map(int, version.split("."))))


@pytest.mark.parametrize(
    "lines",
    [
        "Content-Length: 3\r\nContent-Length: 3",
        "Content-Length: 3\r\nTransfer-Encoding: chunked",
        "Content-Length: +3",
        "Content-Length: 3, 3",
        "Content-Length: 99999999999999999999999",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding : chunked",
        "Transfer-Encoding: identity",
        "Host: a\r\nHost: b",
        " folded: yes",
        "A: b\r\n c",
        "A\0: b",
        "A: b\0c",
        "A: b\rc",
        ": b",
        "no colon",
    ],
)
def test_heads_that_two_servers_could_read_differently(lines: str) -> None:
    assert refusal(f"PUT / HTTP/1.1\r\n{lines}\r\n\r\nabc".encode()) is not None


@pytest.mark.parametrize("size", ["-1", "0x3", "3 ", "g", "3;a=\n"])
def test_chunks_of_no_size(size: str) -> None:
    head = b"PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
    requests, end = parsed(head, f"{size}\r\nabc\r\n0\r\n\r\n".encode())
    assert (requests, end is None) == ([], False)


@pytest.mark.parametrize(
    "data",
    [
        b"GET /" + b"a" * (LINE + 1) + b" HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nA: " + b"a" * LINE + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * (MOST_LINES + 1) + b"\r\n",
        b"PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + b"A: b\r\n" * (MOST_LINES + 1) + b"\r\n",
    ],
)
def test_too_long_or_too_many_lines(data: bytes) -> None:
    assert refusal(data) is not None
    assert refusal(*(data[start : start + 1000] for start in range(0, len(data), 1000))) is not None


@pytest.mark.parametrize(
    "start",
    [
        b"GET / HTTP/1.1\r\nA: ",
        b"PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3;a=",
        b"PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nA: ",
    ],
)
def test_a_line_without_end(start: bytes) -> None:
    parser = RequestParser(LINE)
    parser.feed(start)
    events = [event for _ in range(MOST_WITHOUT_EVENT // 4096 + 2) for event in parser.feed(b"a" * 4096)]
    assert len(events) == 1
    assert isinstance(events[0], Refusal)
    assert parser.feed(b"a") == []


def test_an_unknown_method_is_told_apart() -> None:
    unknown = refusal(b"BREW /pot HTTP/1.1\r\n\r\n")
    assert unknown is not None
    assert unknown.unknown_method


@pytest.mark.parametrize(
    "data", [b"GET / HTTP/9.9\r\n\r\n", b"\x16\x03\x01\xff\xff", b"BREW /pot SIP/2.0\r\n\r\n", b"BREW\r\n\r\n"]
)
def test_what_is_not_http_has_no_method(data: bytes) -> None:
    garbage = refusal(data)
    assert garbage is not None
    assert not garbage.unknown_method


def test_a_target_that_is_not_ascii_is_taken_only_where_a_piece_begins() -> None:
    one = b"GET /k HTTP/1.1\r\nHost: x\r\n\r\n"
    requests, end = parsed(one + one.replace(b"k", b"\xc3\xa9"))
    assert requests == [("/k", b"")]
    assert end is not None


def test_a_body_that_begins_like_a_request_is_left_as_it_is() -> None:
    head = b"PUT /k HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(REQUEST_LIKE)
    get = b"GET /\xc3\xa9 HTTP/1.1\r\nHost: x\r\n\r\n"
    assert parsed(head, REQUEST_LIKE, get) == ([("/k", REQUEST_LIKE), ("/%C3%A9", b"")], None)


@pytest.mark.parametrize("data", [b"X: \xc3\xa9\r\n", b"\x16\x03\x01\xff\xff", b"\r\n\xc3", b""])
def test_what_begins_no_request_is_left_as_it_is(data: bytes) -> None:
    assert TargetEncoder().feed(data, begins=True) == data
