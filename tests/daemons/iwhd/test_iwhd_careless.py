"""What careless users and old scripts send: every request gets an answer that they can do something with."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.iwhd_daemon import Iwhd, eventually, fs, running

CLOSE = b"Host: localhost\r\nConnection: close\r\n\r\n"
FORM = b"Content-Type: application/x-www-form-urlencoded\r\n"


@pytest.fixture(scope="module")
def iwhd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Iwhd]:
    root = tmp_path_factory.mktemp("iwhd")
    with running(Iwhd(root, [fs(root)])) as daemon:
        assert daemon.request("PUT", "/b").status == 201
        assert daemon.request("PUT", "/b/k", b"body").status == 201
        yield daemon
        assert daemon.log.read_text() == "0 replication servers defined\n"


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        # Unknown verbs: 404 and never 405, also where the parser does not know them (iwhd.md 4).
        *(
            (b"%b /b/k HTTP/1.1\r\n" % verb, 404)
            for verb in (b"FOO", b"QUIT", b"get", b"TRACE", b"COPY", b"PROPFIND")
        ),
        (b"OPTIONS * HTTP/1.1\r\n", 404),
        (b"CONNECT x:80 HTTP/1.1\r\n", 404),
        # Addresses in all manners of writing.
        (b"GET http://elsewhere:1/b/k HTTP/1.1\r\n", 200),
        (b"GET //b//k// HTTP/1.1\r\n", 200),
        (b"GET /b/k?x=y HTTP/1.1\r\n", 200),
        (b"GET /%62/%6B HTTP/1.1\r\n", 200),
        (b"GET /b/% HTTP/1.1\r\n", 404),
        (b"GET /b/%zz HTTP/1.1\r\n", 404),
        (b"GET /b/\xff HTTP/1.1\r\n", 404),
        (b"GET /b/%ff HTTP/1.1\r\n", 404),
        (b"GET /b/%00 HTTP/1.1\r\n", 404),
        (b"GET /b/.. HTTP/1.1\r\n", 404),
        (b"GET /b/a b HTTP/1.1\r\n", 400),
        # Bodies that are missing, superfluous or announced in an odd way.
        (b"PUT /b/none HTTP/1.1\r\n", 201),
        (b"PUT /b/none/value HTTP/1.1\r\n", 201),
        (b"POST /b/_query HTTP/1.1\r\n", 400),
        (b"POST /b/k HTTP/1.1\r\n" + FORM, 400),
        (b"POST /b/k HTTP/1.1\r\n", 415),
        (b"PUT /b/k2 HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n", 400),
        (b"PUT /b/k2 HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n", 400),
        (b"PUT /b/k2 HTTP/1.1\r\nContent-Length: -1\r\n", 400),
        (b"PUT /b/k2 HTTP/1.1\r\nContent-Length: 99999999999999999999999\r\n", 400),
        # Headers that are large, many, or of other protocols.
        (b"GET /b/k HTTP/1.1\r\nX: " + b"x" * 60_000 + b"\r\n", 200),
        (b"GET /b/k HTTP/1.1\r\nX: " + b"x" * 300_000 + b"\r\n", 400),
        (b"GET /b/k HTTP/1.1\r\n" + b"X: y\r\n" * 1000, 400),
        (b"GET /b/k HTTP/1.1\r\nX : y\r\n", 400),
        (b"GET /b/k HTTP/1.1\r\nRange: bytes=0-0\r\n", 206),
        (b"GET /b/k HTTP/1.1\r\nUpgrade: h2c\r\n", 200),
        (b"GET /b/k HTTP/3.0\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n", 400),
    ],
    ids=lambda value: value[:40].decode("latin-1").strip() if isinstance(value, bytes) else None,
)
def test_answers(iwhd: Iwhd, request_: bytes, status: int) -> None:
    head, _, body = iwhd.raw(request_ + CLOSE).partition(b"\r\n\r\n")
    assert int(head.split()[1]) == status
    assert b"Server: iwhd" in head
    if status >= 400:
        assert body == b""
        assert b"Content-Type" not in head


def test_names_as_curl_sends_them(iwhd: Iwhd) -> None:
    """Bytes of UTF-8 in an address, not percent-encoded."""
    name = "café-日本".encode()
    put = b"PUT /b/%b HTTP/1.1\r\nContent-Length: 4\r\n" % name
    assert b" 201 " in iwhd.raw(put + CLOSE + b"body")
    assert iwhd.raw(b"GET /b/%b HTTP/1.1\r\n" % name + CLOSE).endswith(b"4\r\nbody\r\n0\r\n\r\n")
    assert (Path(iwhd.directory) / "primary" / "b" / name.decode()).read_bytes() == b"body"
    assert "<key>café-日本</key>" in iwhd.request("GET", "/b").text
    # On a connection that is kept, and with a body that looks like a request.
    other = b"PUT /b/k3 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 24\r\n\r\n"
    with socket.create_connection(("127.0.0.1", iwhd.port), 30) as connection:
        connection.sendall(other)
        connection.sendall(b"GET /\xc3\xa9 HTTP/1.1\r\n\r\nabcd")
        assert b" 201 " in connection.recv(1000)
        connection.sendall(b"GET /b/\xc3\xa9 HTTP/1.1\r\n" + CLOSE)
        assert b" 404 " in connection.recv(1000)
    assert iwhd.request("GET", "/b/k3").body == b"GET /\xc3\xa9 HTTP/1.1\r\n\r\nabcd"


@pytest.mark.parametrize("path", ["/", "/b", "/b/k", "/_providers", "/b/k/_attrs"])
def test_http_1_0_with_a_kept_connection(iwhd: Iwhd, path: str) -> None:
    """What has no length ends with the connection, even if the client asked to keep it: it would wait for ever."""
    answer = iwhd.raw(f"GET {path} HTTP/1.0\r\nConnection: keep-alive\r\n\r\n".encode())
    assert b" 200 " in answer
    assert b"keep-alive" not in answer


def test_http_1_0_keeps_the_connection_where_there_is_a_length(iwhd: Iwhd) -> None:
    ask = b"GET /b/k/_etag HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"
    assert iwhd.raw(ask + ask + b"GET /b/k/_etag HTTP/1.0\r\n\r\n").count(b" 200 ") == 3


def test_a_hundred_requests_at_once(iwhd: Iwhd) -> None:
    """Pipelined on one connection, bodies and all, answered in order."""
    requests = b"".join(
        b"PUT /b/p%d/n HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%d" % (n, len(str(n)), n)
        + b"GET /b/p%d/n HTTP/1.1\r\nHost: localhost\r\n\r\n" % n
        for n in range(50)
    )
    answers = iwhd.raw(requests + b"GET /b/none HTTP/1.1\r\n" + CLOSE).split(b"HTTP/1.1 ")[1:]
    assert len(answers) == 101
    assert [answer.partition(b"\r\n\r\n")[2] for answer in answers[1:100:2]] == [b"%d" % n for n in range(50)]


def test_a_body_that_comes_byte_by_byte(iwhd: Iwhd) -> None:
    request = b"PUT /b/slow HTTP/1.1\r\nTransfer-Encoding: chunked\r\n" + CLOSE + b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    with socket.create_connection(("127.0.0.1", iwhd.port), 30) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for position in range(len(request)):
            connection.sendall(request[position : position + 1])
        assert b" 201 " in connection.recv(1000)
    assert iwhd.request("GET", "/b/slow").body == b"abcde"


def test_clients_that_leave(iwhd: Iwhd) -> None:
    """In the middle of everything: nothing stays of it, nothing is logged (the fixture looks), no memory is lost."""
    block = os.urandom(1 << 20)
    assert iwhd.request("PUT", "/b/large", block * 8).status == 201
    for request in (
        b"PUT /b/gone HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9000000\r\n\r\n" + block,
        b"GET /b/large HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"POST /b/_query HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n$a",
        b"GET /b HT",
    ):
        for _ in range(10):
            with socket.create_connection(("127.0.0.1", iwhd.port), 30) as connection:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # leave by a reset
                with contextlib.suppress(ConnectionError):
                    connection.sendall(request)
    uploads = Path(iwhd.directory) / "primary" / ".iwhd" / "uploads"
    eventually(lambda: not any(uploads.iterdir()), "uploads that broke off are removed")
    assert iwhd.request("GET", "/b/gone").status == 404
    assert iwhd.request("GET", "/b/large").body == block * 8


def test_without_its_database(tmp_path: Path) -> None:
    """Bodies are served headless (iwhd.md 7.2); all else that needs the metadata says that they are away."""
    with running(Iwhd(tmp_path, [fs(tmp_path)])) as daemon:
        assert daemon.request("PUT", "/b").status == 201
        assert daemon.request("PUT", "/b/k", b"body").status == 201
        for name in ("iwhd.db", "iwhd.db-wal"):
            file = tmp_path / "_db" / name
            with file.open("r+b") as opened:
                opened.write(os.urandom(file.stat().st_size))
        got = {path: daemon.request("GET", path).status for path in ("/", "/b", "/b/k/color", "/b/k/_attrs", "/b/no")}
        assert got == {"/": 200, "/b": 503, "/b/k/color": 503, "/b/k/_attrs": 503, "/b/no": 404}
        assert daemon.request("GET", "/b/k").body == b"body"
        assert daemon.request("GET", "/_providers").status == 200
        assert daemon.request("POST", "/b/_query", "1").status == 503
        assert "is not a database" in daemon.log.read_text()
