"""How the daemon behaves: quiet, quick to stop, not patient with slow clients, alive whatever it is sent."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from haild.iwhd import configuration, provider
from haild.iwhd.configuration import Configuration
from haild.iwhd.daemon import serve
from haild.iwhd.http import body, reply
from haild.iwhd.metadata import records
from haild.iwhd.options import parse
from haild.iwhd.settings import ProviderSettings, ProviderSettingsError
from support.iwhd_daemon import FORM, Iwhd, eventually, fs, processor_seconds, running
from support.ports import free_port

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def iwhd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Iwhd]:
    root = tmp_path_factory.mktemp("iwhd")
    with running(Iwhd(root, [fs(root), fs(root, "second")])) as daemon:
        assert daemon.request("PUT", "/b").status == 201
        yield daemon
        assert daemon.request("GET", "/_health").status == 200
        assert "Traceback" not in daemon.log.read_text()


def test_stops_at_once_in_the_middle_of_everything(tmp_path: Path) -> None:
    program = tmp_path / "dc-vmware-image"
    started = tmp_path / "started"
    program.write_text(f"#!/bin/sh\necho $$ > {started}.new && mv {started}.new {started}\nexec sleep 1000\n")
    program.chmod(0o755)
    provider = {**fs(tmp_path), "type": "fs-vmw", "key": "u", "secret": "s"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
        log = tmp_path / "iwhd.log"
        daemon = Iwhd(tmp_path, [provider], "-l", str(log), "-v")
        with running(daemon), contextlib.ExitStack() as stack:
            assert daemon.request("PUT", "/b").status == 201
            assert daemon.request("PUT", "/b/big", b"x" * (32 << 20)).status == 201
            address = ("127.0.0.1", daemon.port)
            uploading, downloading, registering = (
                stack.enter_context(socket.create_connection(address)) for _ in range(3)
            )
            uploading.sendall(
                b"PUT /b/k HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9000000\r\n\r\n" + b"x" * 5_000_000
            )
            downloading.sendall(b"GET /b/big HTTP/1.1\r\nHost: localhost\r\n\r\n")
            form = b"op=register&site=primary&api-url=u&vm-host=h"
            head = b"POST /b/big HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\n"
            registering.sendall(head + b"Content-Length: %d\r\n\r\n" % len(form) + form)
            assert downloading.recv(10) == b"HTTP/1.1 2"
            eventually(started.exists, "the program runs")
            begin = time.monotonic()
            assert daemon.stop() == 0
            assert time.monotonic() - begin < 2.0  # one second, and some for a busy machine
        program_id = int(started.read_text())
        eventually(lambda: not Path(f"/proc/{program_id}").exists(), "the program is ended too")
    with contextlib.closing(sqlite3.connect(tmp_path / "_db" / "iwhd.db")) as connection:
        assert records.find(connection, "b", "k") is None
        assert (records.attribute(connection, "b", "big", "ami-id") or b"").startswith(b"pending ")
    assert daemon.process is not None
    assert f" iwhd[{daemon.process.pid}]: primary primary (fs-vmw)" in log.read_text()
    assert daemon.log.read_text() == "0 replication servers defined\n"


def test_idle(iwhd: Iwhd) -> None:
    log = iwhd.log.read_text()
    before = processor_seconds(iwhd)
    begin = time.monotonic()
    # Nothing to wait for: that nothing happens is the point.
    threading.Event().wait(1.0)
    assert processor_seconds(iwhd) - before <= 0.01 * (time.monotonic() - begin) + 0.01
    assert iwhd.log.read_text() == log


def test_requests_on_one_connection(iwhd: Iwhd) -> None:
    requests = [
        b"PUT /b/k HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\nbody",
        b"GET /b/k HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nAuthorization: OAuth x=y\r\n\r\n",
        b"GET /b/none HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"DELETE /b/k HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    ]
    answers = iwhd.raw(b"".join(requests))
    assert [part[:4] for part in answers.split(b"HTTP/1.1 ")[1:]] == [b"201 ", b"200 ", b"404 ", b"200 "]
    assert b"\r\n4\r\nbody\r\n0\r\n\r\n" in answers


def test_bodies_that_are_too_long(iwhd: Iwhd) -> None:
    huge = b"Content-Length: 99999999\r\nConnection: close\r\nExpect: 100-continue\r\n"
    form = b"Content-Type: application/x-www-form-urlencoded\r\n"
    for line in (b"PUT /b/k/a", b"POST /b/_query", b"POST /b", b"POST /b/k", b"POST /", b"POST /_providers/x"):
        assert iwhd.raw(line + b" HTTP/1.1\r\nHost: localhost\r\n" + form + huge + b"\r\n").startswith(
            b"HTTP/1.1 413 "
        )
    blocks = (b"x" * (1 << 20) for _ in range(5))
    headers = {"Transfer-Encoding": "chunked"}
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        assert iwhd.request("PUT", "/b/k/a", blocks, headers, encode_chunked=True).status == 413
    assert iwhd.request("GET", "/b/k/a").status == 404
    assert iwhd.raw(b"GET /" + b"x" * 100_000 + b" HTTP/1.1\r\n\r\n").split(b" ")[1] in (b"400", b"414")


async def test_clients_that_stand_still(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body, "IDLE_DEADLINE", 0.1)
    monkeypatch.setattr(reply, "WRITE_DEADLINE", 0.1)
    (tmp_path / "fs" / "b").mkdir(parents=True)
    port = free_port()
    options = parse(["-c", "unused", "-d", f"{tmp_path}/_db", "-p", str(port)])
    stop = asyncio.Event()
    provider = ProviderSettings("primary", "fs", path=str(tmp_path / "fs"))
    serving = asyncio.create_task(serve(options, Configuration((provider,)), stop))
    reader, writer = await connected(port)
    # Stops in the middle of its body.
    writer.write(b"PUT /b/k HTTP/1.1\r\nHost: localhost\r\nContent-Length: 30000000\r\n\r\n" + b"x" * 1000)
    assert (await reader.read()).startswith(b"HTTP/1.1 408 ")
    assert list((tmp_path / "fs" / ".iwhd" / "uploads").iterdir()) == []
    reader, writer = await connected(port)
    writer.write(b"PUT /b/k HTTP/1.1\r\nHost: localhost\r\nContent-Length: 30000000\r\n\r\n" + b"x" * 30_000_000)
    assert b" 201 " in await reader.readline()
    # Reads nothing: more than the buffers of both sides hold is not sent, and then the connection is broken.
    silent = socket.create_connection(("127.0.0.1", port))
    silent.sendall(b"GET /b/k HTTP/1.1\r\nHost: localhost\r\n\r\n")
    await asyncio.sleep(0)
    reader, writer = await connected(port)
    writer.write(b"GET /b/none HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    assert (await reader.read()).startswith(b"HTTP/1.1 404 ")
    assert len(await asyncio.to_thread(drained, silent)) < 30_000_000
    stop.set()
    await serving


async def connected(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection to a daemon that may still be starting."""
    end = time.monotonic() + 10
    while True:
        try:
            return await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            assert time.monotonic() < end
            await asyncio.sleep(0.01)


def drained(connection: socket.socket) -> bytes:
    """Everything that comes until the other side is gone, read too slowly for it."""
    received = b""
    with connection, contextlib.suppress(ConnectionResetError):
        threading.Event().wait(0.5)
        while block := connection.recv(1 << 20):
            received += block
    return received


PATHS = st.lists(
    st.sampled_from(
        ["/", "b", "k", "_attrs", "_query", "_new", "_providers", "_primary", "_default", "%2e%2e", "..", "%00"]
    )
    | st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=5)
).map("".join)
HEADERS = st.sampled_from(
    [
        b"",
        b"Content-Type: application/x-www-form-urlencoded\r\n",
        b"Content-Type: multipart/form-data; boundary=X\r\n",
        b"Accept: application/json\r\n",
        b"X-redhat-value: x\r\n",
        b"If-None-Match: x\r\n",
        b"Expect: 100-continue\r\n",
    ]
)
BODIES = st.one_of(
    st.binary(max_size=40),
    st.sampled_from(
        [b"op=parts", b"op=push&_policy=1", b"_key=k&a=b", b"name=x", b"$a == 1", b"--X\r\n\r\n--X--", b"op=register"]
    ),
)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(["GET", "PUT", "POST", "HEAD", "OPTIONS"]), PATHS, HEADERS, BODIES)
def test_any_request_is_answered(iwhd: Iwhd, method: str, path: str, header: bytes, body: bytes) -> None:
    request = f"{method} /{path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {len(body)}\r\n"
    answer = iwhd.raw(request.encode() + header + b"\r\n" + body)
    status = int(answer.removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n").split(b" ")[1])
    assert status in (200, 201, 304, 400, 403, 404, 415, 500)
    # What is outside of the primary's directory stays as it is.
    assert sorted(each.name for each in Path(iwhd.directory).iterdir()) == sorted(
        ["_db", "conf.js", iwhd.log.name, "primary", "second"]
    )


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
NAMES = st.sampled_from(["name", "type", "host", "port", "key", "secret", "path", "Port", "own"])
TYPES = st.sampled_from(["s3", "cf", "http", "fs", "FS", "fs-condor"])


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.dictionaries(NAMES, VALUES | TYPES | st.just(80))).map(json.dumps).map(str.encode)
    | st.binary(max_size=40)
)
def test_any_configuration_is_read_or_refused(text: bytes) -> None:
    try:
        providers = configuration.parse(text).providers
    except ProviderSettingsError:
        return
    assert all(each.name and each.type in provider.types() for each in providers)


def test_image_factory(iwhd: Iwhd) -> None:
    """The requests of Image Factory and of Conductor's image gem, in their order (iwhd.md section 15)."""
    uuid = "6f1a0b5e-0c0b-4a0e-8a39-3a1f7a8f5f10"
    oauth = {"Authorization": 'OAuth oauth_consumer_key="mock", oauth_signature="x"'}
    for _ in range(2):
        assert iwhd.request("PUT", "/images", headers=oauth).status in (201, 500)
    image = f"/images/{uuid}"
    assert iwhd.request("PUT", image, b"\0" * 100_000, oauth).status == 201
    attributes = {
        "uuid": uuid,
        "type": "image",
        "template": "none",
        "icicle": "<icicle>&amp;</icicle>",
        "target_parameters": "a=b&c=%20d",
        "provider_account_identifier": "mockuser",
        f"referenced_by_{uuid}": "1",
        "empty": "",
    }
    for number, (name, value) in enumerate(attributes.items()):
        content_type = {"Content-Type": "text/plain"} if number % 2 else {}
        assert iwhd.request("PUT", f"{image}/{name}", value, oauth | content_type).status == 201
    read = {
        name: iwhd.request("GET", f"{image}/{name}", headers=oauth | {"Content-Length": "0"}) for name in attributes
    }
    assert {name: answer.text if answer.status == 200 else "" for name, answer in read.items()} == attributes
    parts = iwhd.request("POST", image, "op=parts", oauth | FORM).text
    assert [line.split('"')[1] for line in parts.splitlines() if "<object_attr " in line] == list(attributes)
    for expression in (f'($uuid == "{uuid}")', '($type == "image" && $provider_account_identifier == "mockuser")'):
        found = iwhd.request("POST", "/images/_query", expression, FORM).text
        assert f"<key>{uuid}</key>" in found
    assert iwhd.request("POST", "/images/_query", '($uuid == "other")', FORM).status == 404
    assert iwhd.request("DELETE", image, headers=oauth).status == 200
