"""HTTP to the engine against a real server: framing, kept connections, errors, ssh and TLS."""

from __future__ import annotations

import http.client
import os
import ssl
import struct
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from hailbox.engine.address import Address, Certificates
from hailbox.engine.docker import DockerEngine
from hailbox.engine.rawstream import frames, separate
from hailbox.engine.transport import RefusalError, Transport, lines, pieces
from hailbox.model.errors import EngineDeniedError, EngineFailedError, EngineUnreachableError, ImageError
from support.scripted_server import PING, Reply, Request, chunked, serve, sized

# Made for this test and used nowhere else.
KEY = """-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg4HDw0NLE5eCjUGHZ
wwTkUPJXD7BXhDMhWyN8m1HOueahRANCAAT8+M5wQ88uGBysi3b55kfMPx3l6VaM
7xYI+Ttryv/5Lv/0Pv67LGj5mlWwsQnCNlKrwYU4QvWJMDZ4vdVwkmTk
-----END PRIVATE KEY-----
"""
CERTIFICATE = """-----BEGIN CERTIFICATE-----
MIIBtTCCAVugAwIBAgIUUgczej5F/TuFNCJE7PRLe29wSFEwCgYIKoZIzj0EAwIw
FjEUMBIGA1UEAwwLZW5naW5lLnRlc3QwIBcNMjYxMTIyMTI1NjMxWhgPMjEyNTA2
MTYxMjU2MzFaMBYxFDASBgNVBAMMC2VuZ2luZS50ZXN0MFkwEwYHKoZIzj0CAQYI
KoZIzj0DAQcDQgAE/PjOcEPPLhgcrIt2+eZHzD8d5elWjO8WCPk7a8r/+S7/9D7+
uyxo+ZpVsLEJwjZSq8GFOEL1iTA2eL3VcJJk5KOBhDCBgTAdBgNVHQ4EFgQUfJM7
k28sSo/0rl2ZrzauHy8TIs4wHwYDVR0jBBgwFoAUfJM7k28sSo/0rl2ZrzauHy8T
Is4wDwYDVR0TAQH/BAUwAwEB/zAPBgNVHREECDAGhwR/AAABMB0GA1UdJQQWMBQG
CCsGAQUFBwMBBggrBgEFBQcDAjAKBggqhkjOPQQDAgNIADBFAiEAv2MPETgpbgtl
3FqlMSjnUPDoYh/viq1nUWnfqFVv5GYCIDOWYr+/ZV7HRvekuRG4A04cuSuxb3hm
fYZU9I5Y4ILr
-----END CERTIFICATE-----
"""


def frame(content: bytes, *, errors: bool = False) -> bytes:
    return struct.pack(">BxxxI", 2 if errors else 1, len(content)) + content


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> DockerEngine:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/engine.sock")
    return DockerEngine()


def test_answers_of_every_framing_leave_the_connection_usable(tmp_path: Path) -> None:
    body = b'{"a": [1, 2]}'
    replies = {
        "/v1.41/sized": sized(body),
        "/v1.41/chunked": chunked(*(body[at : at + 1] for at in range(len(body)))),
        "/v1.41/nothing": Reply([b"HTTP/1.1 204 No Content\r\n\r\n"]),
        "/v1.41/already": Reply([b"HTTP/1.1 304 Not Modified\r\n\r\n"]),
        "/v1.41/bytewise": Reply([bytes([byte]) for byte in b"HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\n" + body]),
    }
    with serve(tmp_path, lambda request: replies[request.target]) as (server, address):
        transport = Transport(Address(address))
        answers = [transport.ask("GET", target.removeprefix("/v1.41")) for target in replies]
    assert answers == [{"a": [1, 2]}, {"a": [1, 2]}, None, None, {"a": [1, 2]}]
    assert server.connections == 1


def test_queries_and_documents(tmp_path: Path) -> None:
    with serve(tmp_path, lambda request: sized(b"")) as (server, address):
        query = {
            "all": True,
            "v": False,
            "tail": 5,
            "left": None,
            "filters": {"label": ["a=b"]},
            "changes": ("x", "y"),
        }
        Transport(Address(address)).ask("POST", "/things", query, {"Name": "n"})
    (request,) = server.asked
    assert request.target == (
        "/v1.41/things?all=1&v=0&tail=5&filters=%7B%22label%22%3A+%5B%22a%3Db%22%5D%7D&changes=x&changes=y"
    )
    assert (request.headers["content-type"], request.body) == ("application/json", b'{"Name": "n"}')


@pytest.mark.parametrize(
    "reply",
    [
        Reply([b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n[1, 2"], close=True),
        chunked(b"[1, 2", whole=False),
        Reply([b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\n[1, 2"], close=True),
        Reply([b"HTTP/1.1 200 OK\r\nContent-Len"], close=True),
        Reply([b"nonsense\r\n\r\n"], close=True),
        sized(b"not JSON"),
    ],
)
def test_an_answer_cut_short_or_spoilt_is_no_answer(tmp_path: Path, engine: DockerEngine, reply: Reply) -> None:
    with serve(tmp_path, lambda request: reply), pytest.raises(EngineUnreachableError):
        engine.containers({})


@pytest.mark.parametrize("how", ["read", "pieces"])
@pytest.mark.parametrize(
    "cut", [b"Content-Length: 9\r\n\r\n1234", b"Transfer-Encoding: chunked\r\n\r\n4\r\n1234\r\n"]
)
def test_a_stream_cut_short_is_noticed(tmp_path: Path, how: str, cut: bytes) -> None:
    reply = Reply([b"HTTP/1.1 200 OK\r\n" + cut], close=True)
    with serve(tmp_path, lambda request: reply) as (_, address):
        transport = Transport(Address(address))
        with pytest.raises(http.client.IncompleteRead), transport.stream("GET", "/x") as answer:
            answer.read() if how == "read" else list(pieces(answer))


@pytest.mark.parametrize(
    ("reply", "error", "said"),
    [
        (sized(b'{"message": "port is taken"}', "500 Internal Server Error"), EngineFailedError, "port is taken"),
        (sized(b"<html>no</html>", "502 Bad Gateway"), EngineFailedError, "<html>no</html>"),
        (sized(b"", "503 Service Unavailable"), EngineFailedError, "Service Unavailable"),
        (sized(b'{"message": "not you"}', "403 Forbidden"), EngineDeniedError, "not you"),
        (sized(b'{"message": 1}', "401 Unauthorized"), EngineDeniedError, "1"),
    ],
)
def test_what_the_engine_refuses(
    tmp_path: Path, engine: DockerEngine, reply: Reply, error: type[Exception], said: str
) -> None:
    with serve(tmp_path, lambda request: reply) as (server, _):
        for _ in range(2):
            with pytest.raises(error, match=said):
                engine.containers({})
    assert server.connections == 1


def test_what_is_gone_needs_no_removal(tmp_path: Path, engine: DockerEngine) -> None:
    statuses = {"DELETE": "404 Not Found", "POST": "409 Conflict", "GET": "404 Not Found"}
    with serve(tmp_path, lambda request: sized(b"{}", statuses[request.method])):
        for remove in (engine.remove_container, engine.remove_volume, engine.remove_network, engine.remove_image):
            remove("x")
        engine.kill_container("x")
        engine.stop_container("x", stop_timeout=1)
        assert engine.image("x") is None
        assert engine.read_files("x", "/directory") == {}
        with pytest.raises(EngineFailedError):
            engine.start_container("x")
        with pytest.raises(EngineFailedError):
            engine.container_details("x")


def test_a_removal_that_somebody_else_has_begun_is_awaited(tmp_path: Path, engine: DockerEngine) -> None:
    replies = {
        "DELETE": sized(b'{"message": "removal of container x is already in progress"}', "409 Conflict"),
        "POST": sized(b'{"StatusCode": 137}'),
    }
    with serve(tmp_path, lambda request: replies[request.method]) as (server, _):
        engine.remove_container("x")
    assert [(request.method, request.target) for request in server.asked] == [
        ("DELETE", "/v1.41/containers/x?force=1&v=0"),
        ("POST", "/v1.41/containers/x/wait?condition=removed"),
    ]


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_kept_connection_that_the_engine_has_closed_is_not_used(tmp_path: Path, method: str) -> None:
    closed = threading.Event()

    def script(request: Request) -> Reply:
        reply = sized(b"1")
        return Reply(reply.pieces, close=request.connection == 1)

    with serve(tmp_path, script) as (server, address):
        transport = Transport(Address(address))
        assert transport.ask(method, "/x") == 1
        kept = transport._kept[0].sock
        deadline = time.monotonic() + 5
        while kept.recv(1, 0x42) and time.monotonic() < deadline:  # MSG_PEEK | MSG_DONTWAIT: until the end is there
            closed.wait(0.01)
        assert transport.ask(method, "/x") == 1
    assert [request.connection for request in server.asked] == [1, 2]


def test_only_what_may_be_asked_twice_is_asked_again(tmp_path: Path) -> None:
    def script(request: Request) -> Reply:
        return Reply([], close=True) if "hang-up" in request.target and request.connection == 1 else sized(b"1")

    for method, times in (("GET", 2), ("POST", 1)):
        with serve(tmp_path, script) as (server, address):
            transport = Transport(Address(address))
            transport.ask("GET", "/first")
            if method == "GET":
                assert transport.ask(method, "/hang-up") == 1
            else:
                with pytest.raises(http.client.RemoteDisconnected):
                    transport.ask(method, "/hang-up")
        assert len([request for request in server.asked if "hang-up" in request.target]) == times
        (tmp_path / "engine.sock").unlink()


def test_a_stream_that_is_not_read_to_its_end_gives_up_its_connection(tmp_path: Path) -> None:
    with serve(tmp_path, lambda request: chunked(b"one\n", b"two\n")) as (server, address):
        transport = Transport(Address(address))
        with transport.stream("GET", "/x") as answer:
            assert next(lines(pieces(answer))) == b"one"
        with transport.stream("GET", "/x") as answer:
            assert list(lines(pieces(answer))) == [b"one", b"two"]
        with transport.stream("GET", "/x") as answer:
            assert list(lines(pieces(answer))) == [b"one", b"two"]
    assert [request.connection for request in server.asked] == [1, 2, 2]


def test_threads_ask_at_once(tmp_path: Path) -> None:
    meet = threading.Barrier(4, timeout=10)

    def script(request: Request) -> Reply:
        meet.wait()
        return sized(b"1")

    with serve(tmp_path, script) as (server, address), ThreadPoolExecutor(4) as pool:
        transport = Transport(Address(address))
        for _ in range(3):
            assert list(pool.map(lambda _: transport.ask("GET", "/x"), range(4))) == [1] * 4
    assert server.connections <= 8  # each thread may have made one for the version


def test_output_and_errors_of_a_command(tmp_path: Path, engine: DockerEngine) -> None:
    stream = frame(b"out\n") + frame(b"err\n", errors=True) + frame(b"more")

    def script(request: Request) -> Reply:
        if request.target.endswith("/containers/c/exec"):
            return sized(b'{"Id": "e"}', "201 Created")
        if request.target.endswith("/exec/e/start"):
            head = b"HTTP/1.1 200 OK\r\nContent-Type: application/vnd.docker.raw-stream\r\n\r\n"
            return Reply([head + stream[:3], stream[3:11], stream[11:]], close=True)
        return sized(b'{"ExitCode": 3}')

    with serve(tmp_path, script):
        ended = engine.execute("c", ["true"])
    assert (ended.status, ended.output, ended.errors) == (3, b"out\nmore", b"err\n")


def test_frames_may_be_cut_anywhere() -> None:
    stream = frame(b"out") + frame(b"err", errors=True) + frame(b"")
    for cut in range(len(stream) + 1):
        assert separate([stream[:cut], stream[cut:]]) == (b"out", b"err")
    whole = {0, 11, 22, len(stream)}
    for end in set(range(len(stream))) - whole:
        with pytest.raises(ValueError, match="inside a frame"):
            list(frames([stream[:end]]))


def test_log_lines_come_while_the_stream_goes_on(tmp_path: Path, engine: DockerEngine) -> None:
    seen = threading.Event()

    def script(request: Request) -> Reply:
        def stream() -> Iterator[bytes]:
            yield b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
            for content in (frame(b"1 one\n2 tw"), frame(b"o\n", errors=True)):
                yield b"%x\r\n%s\r\n" % (len(content), content)
            assert seen.wait(10)
            yield b"0\r\n\r\n"

        return Reply(stream())

    with serve(tmp_path, script) as (server, _):
        found = engine.logs("c", follow=True, tail=2)
        assert [next(found), next(found)] == [b"1 one", b"2 two"]
        seen.set()
        assert list(found) == []
    assert "follow=1" in server.asked[0].target
    assert "since" not in server.asked[0].target


def test_the_builder_says_what_failed(tmp_path: Path, engine: DockerEngine) -> None:
    said = [b'{"stream": "Step 1/2"}\r\n{"str', b'eam": "\\n"}\r\n', b'{"error": "no such file"}\r\n']
    replies = {"/v1.41/build": chunked(*said), "/v1.41/info": sized(b'{"DockerRootDir": "/nonexistent"}')}
    with serve(tmp_path, lambda request: replies[request.target.partition("?")[0]]) as (server, _):
        steps = engine.build_image(b"archive", "hailbox/x:1", labels={"a": "b"})
        assert next(steps) == "Step 1/2"
        with pytest.raises(ImageError, match="no such file"):
            list(steps)
    assert server.asked[0].body == b"archive"
    assert "t=hailbox%2Fx%3A1&labels=%7B%22a%22%3A+%22b%22%7D" in server.asked[0].target


def test_an_archive_is_sent_with_its_length(tmp_path: Path, engine: DockerEngine) -> None:
    archive = tmp_path / "base.tar"
    archive.write_bytes(os.urandom(300_000))
    with serve(tmp_path, lambda request: chunked(b'{"status": "sha256:1"}\r\n')) as (server, _):
        engine.import_image(archive, "hailbox/base:python3.13", labels={"a": "1", "b": "2"})
    (request,) = server.asked
    assert request.body == archive.read_bytes()
    assert request.target.endswith(
        "repo=hailbox%2Fbase&tag=python3.13&changes=LABEL+a%3D%221%22&changes=LABEL+b%3D%222%22"
    )


def test_a_refusal_is_heard_though_the_body_was_not_read(tmp_path: Path) -> None:
    refused = sized(b'{"message": "no space left on device"}', "500 Internal Server Error")
    with serve(tmp_path, lambda request: Reply(refused.pieces, close=True)) as (_, address):
        transport = Transport(Address(address))
        with (
            pytest.raises(RefusalError, match="no space left"),
            transport.stream("POST", "/x-unread", body=bytes(20_000_000)),
        ):
            pass


def test_an_engine_that_hangs(tmp_path: Path) -> None:
    release = threading.Event()

    def script(request: Request) -> Reply:
        release.wait(10)
        return sized(b"")

    with serve(tmp_path, script) as (_, address):
        with pytest.raises(TimeoutError):
            Transport(Address(address)).ask("GET", "/x", timeout=0.05)
        release.set()


def test_a_helper_that_does_not_end_in_time(
    tmp_path: Path, engine: DockerEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = threading.Event()

    def script(request: Request) -> Reply:
        release.wait(10)
        return sized(b"")

    monkeypatch.setattr(
        "hailbox.engine.docker.math.ceil", lambda seconds: seconds
    )  # whole seconds are long for a test
    with serve(tmp_path, script):
        with pytest.raises(EngineUnreachableError, match="in time"):
            engine.await_exit("c", deadline=0.05)
        release.set()


def test_an_engine_without_a_version_is_asked_without_one(tmp_path: Path) -> None:
    """As some proxies strip headers that they do not know."""
    with serve(tmp_path, lambda request: sized(b"1")) as (server, address):
        server.ping = PING.replace(b"Api-Version: 1.41\r\n", b"")
        assert Transport(Address(address)).ask("GET", "/x") == 1
    assert server.asked[0].target == "/x"


SSH = f"""#!{sys.executable}
import os, socket, sys, threading
with open(os.environ["SSH_ASKED"], "a") as record:
    print(*sys.argv[1:], file=record)
engine = socket.socket(socket.AF_UNIX)
engine.connect(os.environ["ENGINE"])
def back():
    while data := engine.recv(65536):
        os.write(1, data)
    os._exit(0)
threading.Thread(target=back, daemon=True).start()
while data := os.read(0, 65536):
    engine.sendall(data)
"""


def test_over_ssh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The ssh client is a stand-in that connects to the engine where `docker system dial-stdio` would."""
    (tmp_path / "ssh").write_text(SSH)
    (tmp_path / "ssh").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("SSH_ASKED", str(tmp_path / "asked"))
    monkeypatch.setenv("ENGINE", str(tmp_path / "engine.sock"))
    monkeypatch.setenv("DOCKER_HOST", "ssh://me@far.example:2222")
    with serve(tmp_path, lambda request: chunked(b"[]")) as (server, _):
        engine = DockerEngine()
        assert engine.containers({}) == engine.networks({}) == []
    assert server.connections == 1
    expected = "-o ConnectTimeout=30 -T -l me -p 2222 -- far.example docker system dial-stdio\n"
    assert (tmp_path / "asked").read_text() == expected


def test_over_ssh_where_nobody_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "ssh").write_text("#!/bin/sh\nexit 255\n")
    (tmp_path / "ssh").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("DOCKER_HOST", "ssh://far.example")
    with pytest.raises(EngineUnreachableError) as caught:
        DockerEngine().containers({})
    assert caught.value.remedy == "see what this says: docker --host ssh://far.example version"


@pytest.mark.parametrize("trusted", [True, False])
def test_over_tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trusted: bool) -> None:
    """With a client's certificate, as `dockerd --tlsverify` wants; and not to an engine whose own is not trusted."""
    for name, text in (("key", KEY), ("cert", CERTIFICATE), ("ca", CERTIFICATE)):
        (tmp_path / f"{name}.pem").write_text(text)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    context.load_verify_locations(tmp_path / "ca.pem")
    context.verify_mode = ssl.CERT_REQUIRED
    with serve(("127.0.0.1", 0), lambda request: sized(b"[]"), context) as (server, address):
        if not trusted:
            (tmp_path / "ca.pem").unlink()
        transport = Transport(Address(address, certificates=Certificates(tmp_path, verify=True)))
        if trusted:
            assert transport.ask("GET", "/x") == []
            unverified = Transport(Address(address, certificates=Certificates(tmp_path, verify=False)))
            assert unverified.ask("GET", "/x") == []
        else:
            with pytest.raises(ssl.SSLCertVerificationError):
                transport.ask("GET", "/x")
    assert len(server.asked) == (2 if trusted else 0)
