"""iwhd on a real S3 service (our tabled, with chunkd and cld), and the S3 client by itself."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import os
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from haild.client.http import RefusedError, UnreachableError
from haild.client.s3 import S3Client, Signature
from haild.iwhd.__main__ import main
from support.iwhd_daemon import FORM, Iwhd, eventually, fs, memory_peak, running
from support.iwhd_stack import KEY, SECRET, S3Service, s3_service
from support.ports import free_port

pytestmark = pytest.mark.slow

BIG = os.urandom(1 << 20) * 24


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Service]:
    with s3_service(tmp_path_factory.mktemp("s3")) as service:
        yield service


@pytest.fixture(scope="module")
def iwhd(service: S3Service, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Iwhd]:
    root = tmp_path_factory.mktemp("iwhd-s3")
    providers = [service.provider(), fs(root, "copies"), service.provider("old", signature="v2")]
    with running(Iwhd(root, providers)) as daemon:
        yield daemon


@pytest.mark.parametrize("signature", ["v2", "v4"])
async def test_client(service: S3Service, signature: Signature) -> None:
    bucket = f"client-{signature}"
    async with S3Client("127.0.0.1", service.port, key=KEY, secret=SECRET, signature=signature) as client:
        await client.create_bucket(bucket)
        assert bucket in await client.list_buckets()
        put = client.start_put(bucket, "a key/with é+%", 3 << 20, metadata={"mark": "x"})
        for number in range(3):
            await put.write(bytes([number]) * (1 << 20))
        etag = await put.finish()
        head = await client.head_object(bucket, "a key/with é+%")
        assert (head.size, head.etag, head.metadata["mark"]) == (3 << 20, etag, "x")
        async with client.get_object(bucket, "a key/with é+%") as found:
            blocks = [block async for block in found]
        assert b"".join(blocks) == b"".join(bytes([number]) * (1 << 20) for number in range(3))
        for number in range(5):
            await client.put_object(bucket, f"k{number}", b"")
        assert [key async for key in client.list_objects(bucket, prefix="k")] == [f"k{n}" for n in range(5)]
        aborted = client.start_put(bucket, "aborted", 1 << 20)
        await aborted.write(b"x" * 1000)
        await aborted.abort()
        with pytest.raises(RefusedError) as missing:
            await client.head_object(bucket, "aborted")
        assert missing.value.status == 404
        with pytest.raises(RefusedError) as refused:
            await client.delete_bucket(bucket)
        assert (refused.value.status, refused.value.code) == (409, "BucketNotEmpty")


async def test_client_is_refused(service: S3Service) -> None:
    async with S3Client("127.0.0.1", service.port, key=KEY, secret="wrong") as client:
        with pytest.raises(RefusedError) as refused:
            await client.put_object("any", "k", b"x" * 100_000)
        assert refused.value.status == 403
    async with S3Client("127.0.0.1", free_port(), key=KEY, secret=SECRET) as client:
        for action in (client.put_object("any", "k", b"x" * 100_000), client.list_buckets()):
            with pytest.raises(UnreachableError):
                await action


def keys(service: S3Service, bucket: str) -> list[str]:
    async def listed() -> list[str]:
        async with S3Client("127.0.0.1", service.port, key=KEY, secret=SECRET) as client:
            return [key async for key in client.list_objects(bucket)]

    return asyncio.run(listed())


def test_bodies_through_s3(iwhd: Iwhd, service: S3Service) -> None:
    assert iwhd.request("PUT", "/bodies").status == 201
    assert iwhd.request("PUT", "/bodies").status == 500
    chunked = {"Transfer-Encoding": "chunked"}
    put = iwhd.request("PUT", "/bodies/known", BIG)
    assert (put.status, len(put.headers["ETag"])) == (201, 16)
    blocks = iter([BIG[:1000], BIG[1000:]])
    assert iwhd.request("PUT", "/bodies/unknown", blocks, chunked, encode_chunked=True).status == 201
    assert iwhd.request("PUT", "/bodies/empty").status == 201
    assert iwhd.request("PUT", "/bodies/one", b"1").status == 201
    assert iwhd.request("GET", "/bodies/known").body == BIG
    assert iwhd.request("GET", "/bodies/unknown").body == BIG
    assert [iwhd.request("GET", f"/bodies/{key}").body for key in ("empty", "one")] == [b"", b"1"]
    assert iwhd.request("HEAD", "/bodies/known").headers["Content-Length"] == str(len(BIG))
    assert keys(service, "bodies") == ["empty", "known", "one", "unknown"]
    assert iwhd.request("DELETE", "/bodies/known").status == 200
    assert iwhd.request("GET", "/bodies/known").status == 404
    assert iwhd.request("GET", "/bodies/never").status == 404
    assert iwhd.request("DELETE", "/bodies/never").status == 200  # as upstream, iwhd.md 7.3
    assert iwhd.request("DELETE", "/bodies").status == 409
    assert keys(service, "bodies") == ["empty", "one", "unknown"]
    assert iwhd.request("PUT", "/nobucket/k", b"x" * 1000).status == 500
    assert memory_peak(iwhd) < 100 << 20


def test_large_bodies_are_passed_on(iwhd: Iwhd) -> None:
    """From connection to connection: framed, whole, in order, and the client's connection can be used on."""
    assert iwhd.request("PUT", "/passed").status == 201
    bodies = {f"k{number}": BIG[number * (5 << 20) : -1 - number] for number in range(3)}
    for key, body in bodies.items():
        assert iwhd.request("PUT", f"/passed/{key}", body).status == 201
    connection = http.client.HTTPConnection("127.0.0.1", iwhd.port, timeout=30)
    for key in [*bodies, "none", *bodies]:
        connection.request("GET", f"/passed/{key}")
        answer = connection.getresponse()
        assert (answer.status, answer.read() == bodies.get(key, b"")) == (404 if key == "none" else 200, True)
    connection.close()
    head, _, body = iwhd.raw(b"GET /passed/k1 HTTP/1.0\r\n\r\n").partition(b"\r\n\r\n")
    assert b"Transfer-Encoding" not in head
    assert body == bodies["k1"]
    with ThreadPoolExecutor(8) as threads:
        paths = [f"/passed/{key}" for key in bodies] * 8
        got = threads.map(lambda path: iwhd.request("GET", path).body == bodies[path[-2:]], paths)
        assert all(got)
    assert memory_peak(iwhd) < 100 << 20


def drain(connection: socket.socket) -> None:
    while connection.recv(1 << 20):
        pass


def open_files(iwhd: Iwhd) -> int:
    assert iwhd.process is not None
    return len(os.listdir(f"/proc/{iwhd.process.pid}/fd"))


def test_readers_that_leave_and_a_service_that_breaks_off(iwhd: Iwhd, service: S3Service) -> None:
    assert iwhd.request("PUT", "/broken").status == 201
    assert iwhd.request("PUT", "/broken/k", BIG * 2).status == 201
    before = open_files(iwhd)
    for _ in range(10):
        with socket.create_connection(("127.0.0.1", iwhd.port), 30) as connection:
            connection.sendall(b"GET /broken/k HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert connection.recv(1000).startswith(b"HTTP/1.1 200 ")
    eventually(lambda: open_files(iwhd) <= before + 2, "connections and pipes are closed")
    # For a client of HTTP/1.0 an orderly end would mean that this was all.
    with socket.create_connection(("127.0.0.1", iwhd.port), 30) as connection:
        connection.sendall(b"GET /broken/k HTTP/1.0\r\n\r\n")
        assert connection.recv(1000).startswith(b"HTTP/1.0 200 ")
        service.tabled.kill()
        try:
            with pytest.raises(ConnectionResetError):
                drain(connection)
        finally:
            service.tabled.start(wait=False)
            eventually(service.works, "the S3 service works again")
    assert iwhd.request("GET", "/broken/k").body == BIG * 2


def test_health_leaves_nothing(iwhd: Iwhd, service: S3Service) -> None:
    async def buckets() -> list[str]:
        async with S3Client("127.0.0.1", service.port, key=KEY, secret=SECRET) as client:
            return await client.list_buckets()

    before = asyncio.run(buckets())
    assert iwhd.request("GET", "/_health").status == 200
    assert asyncio.run(buckets()) == before


def test_copies_from_s3(iwhd: Iwhd) -> None:
    assert iwhd.request("PUT", "/copied").status == 201
    assert iwhd.request("PUT", "/copied/k", BIG[: 2 << 20]).status == 201
    assert iwhd.request("POST", "/copied/k", 'op=push&_policy=#type == "fs"', FORM).status == 200
    copy = Path(iwhd.directory) / "copies" / "copied" / "k"
    eventually(copy.exists, "the copy is there")
    assert copy.read_bytes() == BIG[: 2 << 20]


def test_an_interrupted_upload_changes_nothing(iwhd: Iwhd) -> None:
    assert iwhd.request("PUT", "/interrupted").status == 201
    assert iwhd.request("PUT", "/interrupted/k", b"old").status == 201
    etag = iwhd.request("GET", "/interrupted/k/_etag").text
    iwhd.raw(
        b"PUT /interrupted/k HTTP/1.1\r\nHost: localhost\r\nContent-Length: 400000\r\n\r\n" + BIG[:300_000],
        leave=True,
    )
    assert iwhd.request("GET", "/interrupted/k").body == b"old"
    assert iwhd.request("GET", "/interrupted/k/_etag").text == etag


def test_concurrent_puts_end_with_one_of_them_whole(iwhd: Iwhd) -> None:
    assert iwhd.request("PUT", "/concurrent").status == 201
    etags: dict[str, int] = {}

    def put(number: int) -> None:
        answer = iwhd.request("PUT", "/concurrent/k", bytes([number]) * (400_000 + number))
        assert answer.status == 201
        etags[answer.headers["ETag"]] = number

    threads = [threading.Thread(target=put, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(etags) == 8
    number = etags[iwhd.request("GET", "/concurrent/k/_etag").text]
    assert iwhd.request("GET", "/concurrent/k").body == bytes([number]) * (400_000 + number)


def test_service_away_and_back(iwhd: Iwhd, service: S3Service) -> None:
    assert iwhd.request("PUT", "/away").status == 201
    assert iwhd.request("PUT", "/away/k", b"x").status == 201
    service.tabled.kill()
    try:
        assert iwhd.request("GET", "/_health").status == 503
        for method in ("PUT", "GET", "DELETE"):
            assert iwhd.request(method, "/away/k", b"y" * 1000 if method == "PUT" else None).status == 503
        assert iwhd.request("PUT", "/other").status == 503
        assert iwhd.request("GET", "/away").status == 200
        assert iwhd.request("PUT", "/away/k/color", "blue").status == 201
        # A daemon that starts meanwhile serves what it can.
        iwhd.kill()
        iwhd.start()
        assert iwhd.request("GET", "/away/k/color").text == "blue"
        assert iwhd.request("GET", "/away/k").status == 503
    finally:
        service.tabled.start(wait=False)
        eventually(service.works, "the S3 service works again")
    # Which of the two survived an answer of 503 is open, but not that they agree.
    eventually(lambda: iwhd.request("GET", "/away/k").status in (200, 404), "the object is settled")
    assert iwhd.request("GET", "/_health").status == 200
    got = iwhd.request("GET", "/away/k")
    assert got.body in (b"x", b"")
    assert iwhd.request("PUT", "/away/k", b"z").status == 201
    assert iwhd.request("GET", "/away/k").body == b"z"


def test_killed_while_clients_write(iwhd: Iwhd, service: S3Service) -> None:
    assert iwhd.request("PUT", "/killed").status == 201
    acknowledged: dict[str, str] = {}

    def write(writer: int, round_: int) -> None:
        with contextlib.suppress(OSError, http.client.HTTPException):
            for number in range(1000):
                content = f"{writer} {round_} {number} ".encode() * (20_000 * writer + 1)
                etag = iwhd.request("PUT", f"/killed/k{writer}", content).headers["ETag"]
                acknowledged[f"k{writer}"] = etag

    for round_ in range(2):
        threads = [threading.Thread(target=write, args=(writer, round_)) for writer in range(3)]
        for thread in threads:
            thread.start()
        eventually(lambda: bool(acknowledged), "something is acknowledged")
        threads[0].join(0.2)
        iwhd.kill()
        for thread in threads:
            thread.join()
        iwhd.start()
        assert acknowledged
        for key in acknowledged:
            words = iwhd.request("GET", f"/killed/{key}").body.split(b" ")
            assert words[0] == key[1:].encode()
            assert b" ".join(words) == b" ".join([*words[:3], b""]) * (len(words) // 3)
            size = int(iwhd.request("HEAD", f"/killed/{key}").headers["Content-Length"])
            assert size == len(b" ".join(words))


def test_a_bad_signature_setting_ends_the_daemon(
    service: S3Service, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    daemon = Iwhd(tmp_path, [service.provider(signature="v3")])
    assert main(daemon.arguments) == 1
    error = capfd.readouterr().err
    assert "signature 'v3'" in error
    assert SECRET not in error
