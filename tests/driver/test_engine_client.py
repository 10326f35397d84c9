"""The client of the engine against a real server that sends every byte as told: framing, kept connections, errors,
ssh and TLS."""

from __future__ import annotations

import functools
import os
import socket
import ssl
import struct
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from hailbox.engine.docker import DockerEngine, client
from hailbox.engine.docker.ssh import sharing
from hailbox.engine.docker.stream import frames, separate
from hailbox.model.errors import (
    DiskFullError,
    EngineDeniedError,
    EngineFailedError,
    EngineUnreachableError,
    HailboxError,
    ImageError,
    UsageError,
)
from support.scripted_server import VERSION, Reply, Request, chunked, serve, sized

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

OTHER = """-----BEGIN CERTIFICATE-----
MIIBgjCCASegAwIBAgIUbZQlBCYq4oyJtJLqRZxvGRCLmAkwCgYIKoZIzj0EAwIw
FTETMBEGA1UEAwwKb3RoZXIudGVzdDAgFw0yNjExMzAyMzUxMzNaGA8yMTI2MTEw
NjIzNTEzM1owFTETMBEGA1UEAwwKb3RoZXIudGVzdDBZMBMGByqGSM49AgEGCCqG
SM49AwEHA0IABP16jK1cW5x/C6t7NxuhqQ8SZqsl25JVlhowswzKfw5YyHIonYw4
J9DfVG1TJH087P8v38PsK+qQEklLTJgvxomjUzBRMB0GA1UdDgQWBBSVoOPn1mkI
3FDmP6HOiHaV8SLpwTAfBgNVHSMEGDAWgBSVoOPn1mkI3FDmP6HOiHaV8SLpwTAP
BgNVHRMBAf8EBTADAQH/MAoGCCqGSM49BAMCA0kAMEYCIQCwurWvd8AbKAzNeaKA
lFR32s6o2jCmQJYX1xWojc4TEQIhAL5LpgGo/3UHTdfWYSwmrJcnzt1TsKAhHlCw
FEJ1leBx
-----END CERTIFICATE-----
"""
"""Of another authority, made for this test."""


def frame(content: bytes, *, errors: bool = False) -> bytes:
    return struct.pack(">BxxxI", 2 if errors else 1, len(content)) + content


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> DockerEngine:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/engine.sock")
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    return DockerEngine()


def test_answers_of_every_framing_leave_the_connection_usable(tmp_path: Path, engine: DockerEngine) -> None:
    body = b'{"Volumes": [{"Name": "v", "Labels": null}]}'
    listings = iter(
        [
            sized(body),
            chunked(*(body[at : at + 1] for at in range(len(body)))),
            Reply([bytes([byte]) for byte in b"HTTP/1.1 200 OK\r\nContent-Length: 44\r\n\r\n" + body]),
        ]
    )

    def script(request: Request) -> Reply:
        if request.target.endswith("/start"):
            return Reply([b"HTTP/1.1 304 Not Modified\r\n\r\n"])
        return Reply([b"HTTP/1.1 204 No Content\r\n\r\n"]) if request.method == "POST" else next(listings)

    with serve(tmp_path, script) as (server, _):
        for _ in range(3):
            assert [volume.name for volume in engine.volumes({})] == ["v"]
            engine.start_container("c")
            engine.pause_container("c")
    assert server.connections == 4  # the package keeps one for each path; and one for the version


def test_queries_and_documents(tmp_path: Path, engine: DockerEngine) -> None:
    replies = {"GET": sized(b"[]"), "POST": sized(b'{"Id": "1"}')}
    with serve(tmp_path, lambda request: replies[request.method]) as (server, _):
        engine.containers({"a": "b", "c": None})
        assert engine.create_container("n", {"Image": "i", "Cmd": []}) == "1"
    listed, made = server.asked
    assert listed.target.startswith("/v1.41/containers/json?")
    assert "all=1" in listed.target
    assert "filters=%7B%22label%22%3A+%5B%22a%3Db%22%2C+%22c%22%5D%7D" in listed.target
    assert made.target == "/v1.41/containers/create?name=n"
    assert (made.headers["content-type"], made.body) == ("application/json", b'{"Image": "i", "Cmd": []}')


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


@pytest.mark.parametrize(
    "cut", [b"Content-Length: 9\r\n\r\n1234", b"Transfer-Encoding: chunked\r\n\r\n4\r\n1234\r\n"]
)
def test_a_stream_cut_short_is_noticed(tmp_path: Path, engine: DockerEngine, cut: bytes) -> None:
    reply = Reply([b"HTTP/1.1 200 OK\r\n" + cut], close=True)
    with serve(tmp_path, lambda request: reply):
        with pytest.raises(EngineUnreachableError):
            engine.read_files("c", "/data")
        with pytest.raises(EngineUnreachableError):
            list(engine.build_image(b"", "i:1", labels={}))
        with pytest.raises(EngineUnreachableError):
            engine.pull_image("host:5000/i:1")
        for follow in (False, True):
            with pytest.raises(EngineUnreachableError):
                list(engine.logs("c", follow=follow))


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
    assert server.connections == 2  # one for the version


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
        ("DELETE", "/v1.41/containers/x?v=False&link=False&force=True"),
        ("POST", "/v1.41/containers/x/wait?condition=removed"),
    ]


def test_a_kept_connection_that_the_engine_has_closed_is_not_used(tmp_path: Path, engine: DockerEngine) -> None:
    def script(request: Request) -> Reply:
        first = request.connection == 2
        return Reply(sized(b"[]" if request.method == "GET" else b"{}").pieces, close=first)

    with serve(tmp_path, script) as (server, _):
        engine.create_volume("v", {})
        deadline = time.monotonic() + 5
        while server.closed < 2 and time.monotonic() < deadline:
            threading.Event().wait(0.01)
        engine.create_volume("v", {})
    assert [request.connection for request in server.asked] == [2, 3]


@pytest.mark.parametrize(("method", "times"), [("GET", 2), ("POST", 1)])
def test_only_what_may_be_asked_twice_is_asked_again(
    tmp_path: Path, engine: DockerEngine, method: str, times: int
) -> None:
    """The second request on a kept connection ends it."""

    def script(request: Request) -> Reply:
        hang_up = len(server.asked) == 2
        return Reply([], close=True) if hang_up else sized(b"[]" if request.method == "GET" else b"{}")

    with serve(tmp_path, script) as (server, _):
        if method == "GET":
            assert [engine.images({}), engine.images({})] == [[], []]
        else:
            engine.create_volume("v", {})
            with pytest.raises(EngineUnreachableError):
                engine.create_volume("v", {})
    assert [request.connection for request in server.asked] == [2, 2, 3][: times + 1]


def test_what_only_looks_is_asked_twice_at_most(tmp_path: Path, engine: DockerEngine) -> None:
    with serve(tmp_path, lambda request: Reply([], close=True)) as (server, _), pytest.raises(EngineUnreachableError):
        engine.images({})
    assert len(server.asked) == 2


def test_threads_ask_at_once(tmp_path: Path, engine: DockerEngine) -> None:
    meet = threading.Barrier(12, timeout=10)

    def script(request: Request) -> Reply:
        meet.wait()
        return sized(b"[]")

    with serve(tmp_path, script) as (server, _), ThreadPoolExecutor(12) as pool:
        for _ in range(3):
            assert list(pool.map(lambda _: engine.images({}), range(12))) == [[]] * 12
    assert server.connections == 13  # kept, and one for the version


@pytest.mark.parametrize("apart", [True, False])
def test_output_and_errors_of_a_command(tmp_path: Path, engine: DockerEngine, apart: bool) -> None:
    """In one packet with the head, too, which an upgraded connection of the package loses."""
    stream = frame(b"out\n") + frame(b"err\n", errors=True) + frame(b"more")

    def script(request: Request) -> Reply:
        if request.target.endswith("/containers/c/exec"):
            return sized(b'{"Id": "e"}', "201 Created")
        if request.target.endswith("/exec/e/start"):
            assert "upgrade" not in request.headers
            head = b"HTTP/1.1 200 OK\r\nContent-Type: application/vnd.docker.raw-stream\r\n\r\n"
            pieces = [head + stream[:3], stream[3:11], stream[11:]] if apart else [head + stream]
            return Reply(pieces, close=True)
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
    target = next(request.target for request in server.asked if "/logs?" in request.target)
    assert "follow=1" in target
    assert "tail=2" in target
    assert "since" not in target


def test_the_builder_says_what_failed(tmp_path: Path, engine: DockerEngine) -> None:
    said = [b'{"stream": "Step 1/2"}\r\n{"str', b'eam": "\\n"}\r\n', b'{"error": "no such file"}\r\n']
    replies = {"/v1.41/build": chunked(*said), "/v1.41/info": sized(b'{"DockerRootDir": "/nonexistent"}')}
    with serve(tmp_path, lambda request: replies[request.target.partition("?")[0]]) as (server, _):
        steps = engine.build_image(b"archive", "hailbox/x:1", labels={"a": "b"})
        assert next(steps) == "Step 1/2"
        with pytest.raises(ImageError, match="no such file"):
            list(steps)
    assert server.asked[0].body == b"archive"
    assert (
        "t=hailbox%2Fx%3A1&labels=%7B%22a%22%3A+%22b%22%7D&rm=1&forcerm=1&networkmode=none" in server.asked[0].target
    )


def test_an_archive_is_sent_with_its_length(tmp_path: Path, engine: DockerEngine) -> None:
    archive = tmp_path / "base.tar"
    archive.write_bytes(os.urandom(300_000))
    replies = {"POST": chunked(b'{"status": "sha256:1"}\r\n'), "GET": sized(b'{"Id": "sha256:1"}')}
    with serve(tmp_path, lambda request: replies[request.method]) as (server, _):
        engine.import_image(archive, "hailbox/base:python3.13", labels={"a": "1", "b": "2"})
    request = server.asked[0]
    assert request.body == archive.read_bytes()
    for wanted in ("fromSrc=-", "repo=hailbox%2Fbase", "tag=python3.13", "changes=LABEL+a%3D%221%22&changes=LABEL+b"):
        assert wanted in request.target


@pytest.mark.parametrize("what", ["build", "import"])
def test_a_refusal_is_heard_though_the_body_was_not_read(tmp_path: Path, engine: DockerEngine, what: str) -> None:
    refused = sized(b'{"message": "no space left on device"}', "500 Internal Server Error")
    archive = tmp_path / "big.tar"
    archive.write_bytes(bytes(20_000_000))
    with serve(tmp_path, lambda request: Reply(refused.pieces, close=True)) as (server, _):
        server.unread = True
        if what == "build":
            send = functools.partial(list, engine.build_image(archive.read_bytes(), "i:1", labels={}))
        else:
            send = functools.partial(engine.import_image, archive, "i:1", labels={})
        with pytest.raises(DiskFullError):
            send()


def test_an_engine_that_hangs(tmp_path: Path, engine: DockerEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    """What only looks is not asked twice then: that would double the wait."""
    monkeypatch.setattr(client, "TIMEOUT", 0.2)
    release = threading.Event()

    def script(request: Request) -> Reply:
        release.wait(10)
        return sized(b"[]")

    with serve(tmp_path, script) as (server, _):
        with pytest.raises(EngineUnreachableError, match="in time"):
            engine.images({})
        with pytest.raises(EngineUnreachableError, match="in time"):
            engine.read_files("c", "/")
        release.set()
    assert len(server.asked) == 2


def test_a_helper_that_does_not_end_in_time(
    tmp_path: Path, engine: DockerEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = threading.Event()

    def script(request: Request) -> Reply:
        release.wait(10)
        return sized(b"")

    monkeypatch.setattr(
        "hailbox.engine.docker.engine.math.ceil", lambda seconds: seconds
    )  # whole seconds are long for a test
    with serve(tmp_path, script):
        with pytest.raises(EngineUnreachableError, match="in time"):
            engine.await_exit("c", deadline=0.05)
        release.set()


@pytest.mark.parametrize(
    "text", ["[]", "{", '{"auths": {"x.example": {"auth": "?"}}}', '{"proxies": 5}', '{"auths": 5}']
)
def test_a_damaged_configuration_of_the_docker_client_does_not_matter(
    tmp_path: Path, engine: DockerEngine, text: str
) -> None:
    (tmp_path / "config.json").write_text(text)
    with serve(tmp_path, lambda request: sized(b"[]") if request.method == "GET" else chunked(b"{}")):
        assert engine.images({}) == []
        engine.pull_image("x.example/y:1")


def test_an_engine_is_asked_in_its_own_version(tmp_path: Path, engine: DockerEngine) -> None:
    with serve(tmp_path, lambda request: sized(b"[]")) as (server, _):
        server.version = VERSION.replace(b"1.41", b"1.52")
        engine.images({})
    assert server.asked[0].target.startswith("/v1.52/")


PODMAN = (
    b'{"Version": "5.8.6", "ApiVersion": "1.41", "Os": "linux", "Arch": "amd64", '
    b'"Components": [{"Name": "Podman Engine", "Version": "5.8.6"}, {"Name": "Conmon", "Version": "2"}]}'
)


def test_podman_is_known_and_named(tmp_path: Path, engine: DockerEngine) -> None:
    refused = sized(b'{"message": "no"}', "500 Internal Server Error")
    with serve(tmp_path, lambda request: sized(PODMAN) if "version" in request.target else refused) as (server, _):
        server.version = PODMAN
        assert engine.version().product == "Podman"
        with pytest.raises(EngineFailedError, match=r"\(Podman 5\.8\.6\) answered with an error: no"):
            engine.containers({})


@pytest.mark.parametrize("answer", [b"[5]", b'{"a": 1}', b'[{"Id": "x"}]', b"5", b'"x"', b"null"])
def test_an_answer_of_another_form_is_no_defect_of_ours(tmp_path: Path, engine: DockerEngine, answer: bytes) -> None:
    with serve(tmp_path, lambda request: sized(answer)):
        for ask in (lambda: engine.containers({}), lambda: engine.image("x"), lambda: engine.container_details("x")):
            with pytest.raises(HailboxError) as caught:
                ask()
            assert caught.value.exit_status in (3, 6)


def test_an_import_that_loses_its_tag_is_named(tmp_path: Path, engine: DockerEngine) -> None:
    """As Podman 4 does."""
    archive = tmp_path / "base.tar"
    archive.write_bytes(b"x")

    def script(request: Request) -> Reply:
        if request.method == "GET":
            return sized(b'{"message": "no such image"}', "404 Not Found")
        return sized(b'{"status": "sha256:1"}') if "/images/create" in request.target else sized(b"", "201 Created")

    with serve(tmp_path, script) as (server, _):
        engine.import_image(archive, "hailbox/base:python3.13", labels={})
    assert server.asked[-1].target.startswith("/v1.41/images/sha256:1/tag?")
    assert "tag=python3.13" in server.asked[-1].target
    assert "repo=hailbox%2Fbase" in server.asked[-1].target


def test_no_proxy_stands_before_the_engine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    with serve(("127.0.0.1", 0), lambda request: sized(b"[]")) as (server, address):
        monkeypatch.setenv("DOCKER_HOST", address)
        assert DockerEngine().images({}) == []
    assert len(server.asked) == 1


SSH = f"""#!{sys.executable}
import os, socket, sys, threading
here = os.path.dirname(os.path.abspath(sys.argv[0]))
if sys.argv[1] == "-G":
    print(open(here + "/configuration").read())
    sys.exit()
with open(here + "/asked", "a") as record:
    print(*sys.argv[1:], file=record)
engine = socket.socket(socket.AF_UNIX)
engine.connect(here + "/engine.sock")
def back():
    while data := engine.recv(65536):
        os.write(1, data)
    os._exit(0)
threading.Thread(target=back, daemon=True).start()
while data := os.read(0, 65536):
    engine.sendall(data)
"""


@pytest.mark.parametrize("configured", ["host far.example\ncontrolpath none", "controlpath /run/mine", ""])
def test_over_ssh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, configured: str) -> None:
    """The ssh client is a stand-in that connects to the engine where `docker system dial-stdio` would. It is asked to
    share a connection unless the user's configuration has one shared."""
    (tmp_path / "configuration").write_text(configured)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    sharing.cache_clear()
    (tmp_path / "ssh").write_text(SSH)
    (tmp_path / "ssh").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("DOCKER_HOST", "ssh://me@far.example:2222")
    with serve(tmp_path, lambda request: chunked(b"[]")) as _:
        engine = DockerEngine()
        assert engine.containers({}) == engine.networks({}) == []
    (asked,) = set((tmp_path / "asked").read_text().splitlines())
    assert asked.endswith("-p 2222 -- me@far.example docker system dial-stdio")
    assert ("-o ControlMaster=auto" in asked) == ("/run/mine" not in configured)


def test_over_ssh_where_nobody_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "ssh").write_text("#!/bin/sh\nexit 255\n")
    (tmp_path / "ssh").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("DOCKER_HOST", "ssh://far.example")
    with pytest.raises(EngineUnreachableError) as caught:
        DockerEngine().containers({})
    assert caught.value.remedy == "see what this says: docker --host ssh://far.example version"


@pytest.mark.parametrize("trusted", [True, False])
@pytest.mark.parametrize("verify", [True, False])
def test_over_tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trusted: bool, verify: bool) -> None:
    """With a client's certificate, as `dockerd --tlsverify` wants; and not to an engine whose own is not trusted."""
    for name, text in (("key", KEY), ("cert", CERTIFICATE), ("ca", CERTIFICATE)):
        (tmp_path / f"{name}.pem").write_text(text)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    context.load_verify_locations(tmp_path / "ca.pem")
    context.verify_mode = ssl.CERT_REQUIRED
    with serve(("127.0.0.1", 0), lambda request: sized(b"[]"), context) as (server, address):
        if not trusted:
            (tmp_path / "ca.pem").write_text(OTHER)
        monkeypatch.setenv("DOCKER_HOST", address)
        monkeypatch.setenv("DOCKER_CERT_PATH", str(tmp_path))
        monkeypatch.setenv("DOCKER_TLS_VERIFY", "1" if verify else "")
        if trusted or not verify:
            assert DockerEngine().images({}) == []
        else:
            with pytest.raises(EngineUnreachableError, match="certificate verify failed"):
                DockerEngine().images({})
    assert len(server.asked) == (1 if trusted or not verify else 0)


def test_without_the_certificates_that_are_asked_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:1")
    monkeypatch.setenv("DOCKER_TLS_VERIFY", "1")
    monkeypatch.setenv("DOCKER_CERT_PATH", str(tmp_path))
    with pytest.raises(UsageError, match="certificates"):
        DockerEngine().images({})


def test_an_engine_that_refuses_this_user(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuse(*_arguments: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/engine.sock")
    monkeypatch.setattr(socket.socket, "connect", refuse)
    with pytest.raises(EngineDeniedError, match="refuses this user"):
        DockerEngine().images({})


@pytest.mark.parametrize("text", ["gopher://x", "tcp://", "tcp://far:port", "tcp://[::1", "npipe:////./x"])
def test_addresses_that_make_no_sense(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("DOCKER_HOST", text)
    with pytest.raises(HailboxError) as caught:
        DockerEngine().images({})
    assert isinstance(caught.value, EngineUnreachableError)
    assert text in caught.value.problem
    assert "DOCKER_HOST" in caught.value.remedy
