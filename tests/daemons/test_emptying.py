"""The daemons of a stack discard all that they keep when its driver asks, and no other client can make them do it."""

import asyncio
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from haild.client.cld import OpenMode, Session
from haild.client.emptying import NotEmptiedError, Place, empty
from haild.wire import emptying as wire
from support.iwhd_daemon import Iwhd, eventually
from support.iwhd_stack import S3Service, s3_service

SECRET = "the secret of the stack"
LARGE = b"large-body-" * 20_000
SMALL = b"small-body-"
BUCKET = "bucket-of-a-test"
OBJECT = "object-of-a-test"
FILE = OpenMode.WRITE | OpenMode.CREATE


class Warehouse:
    """iwhd on tabled on chunkd and cld, which take the request to empty themselves."""

    def __init__(self, root: Path, service: S3Service, iwhd: Iwhd) -> None:
        self.root = root
        self.service = service
        self.iwhd = iwhd

    def places(self, *services: str) -> list[Place]:
        ports = {
            "iwhd": self.iwhd.port,
            "tabled": self.service.port,
            "chunkd": self.service.chunkd.port,
            "cld": self.service.cld.port,
        }
        return [Place(f"{name}-1", name, "127.0.0.1", ports[name]) for name in services or ports]

    def empty(self, *services: str, secret: str = SECRET) -> None:
        asyncio.run(empty(self.places(*services), secret, 20.0))

    def fill(self) -> None:
        assert self.iwhd.request("PUT", f"/{BUCKET}").status == 201
        for number in range(5):
            for name, body in (("large", LARGE), ("small", SMALL)):
                assert self.iwhd.request("PUT", f"/{BUCKET}/{OBJECT}-{name}-{number}", body).status == 201
        asyncio.run(self._file())

    async def _file(self) -> None:
        session = await self._session()
        await session.put(await session.open(f"/{OBJECT}", FILE), SMALL)
        await session.end()

    async def _session(self) -> Session:
        return await Session.connect("127.0.0.1", self.service.cld.port, user="tabled", secret=b"tabled")

    def works(self) -> bool:
        status = self.iwhd.request("PUT", f"/{BUCKET}").status
        return status == 201 and self.iwhd.request("PUT", f"/{BUCKET}/k", b"new").status == 201

    def found(self) -> list[str]:
        """The files in which something of what `fill` stored can still be read, by their names or their content."""
        words = [word.encode() for word in (BUCKET, OBJECT)] + [LARGE[:11], SMALL]
        places = [self.root / name for name in ("cld", "chunk", "tdb", "iwhd/_db")]
        files = [path for place in places for path in place.rglob("*") if path.is_file()]
        return [str(path) for path in files if any(word in path.read_bytes() for word in words)]


@pytest.fixture
def warehouse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Warehouse]:
    (tmp_path / "secret").write_text(f"{SECRET}\n")
    (tmp_path / "cld.users").write_text("tabled\ttabled\n")
    monkeypatch.setenv("HAILD_EMPTYING", str(tmp_path / "secret"))
    monkeypatch.setattr(S3Service, "__init__", _with_secrets(S3Service.__init__))
    with s3_service(tmp_path) as service:
        iwhd = Iwhd(tmp_path / "iwhd", [service.provider()])
        try:
            iwhd.start()
            yield Warehouse(tmp_path, service, iwhd)
        finally:
            iwhd.close()


def _with_secrets(made: object) -> object:
    def make(self: S3Service, root: Path) -> None:
        made(self, root)  # type: ignore[operator]
        self.cld.arguments += ["--secrets", str(root / "cld.users")]

    return make


def test_nothing_that_was_stored_can_be_read_on_disk_and_all_services_work(warehouse: Warehouse) -> None:
    warehouse.fill()
    assert warehouse.found()
    for _ in range(2):
        warehouse.empty()
        assert warehouse.found() == []
        assert warehouse.iwhd.request("GET", f"/{BUCKET}").status == 404
    eventually(warehouse.works, "a bucket and an object can be stored again")
    # The daemons have kept their places in cld: nothing had to be elected or registered again.
    log = warehouse.service.tabled.log.read_text()
    assert "stepping down" not in log
    warehouse.empty()


def test_a_wrong_proof_empties_nothing(warehouse: Warehouse) -> None:
    warehouse.fill()
    for service in ("iwhd", "tabled", "chunkd", "cld"):
        with pytest.raises(NotEmptiedError, match=service):
            asyncio.run(empty(warehouse.places(service), "another secret", 2.0))
    assert warehouse.iwhd.request("GET", f"/{BUCKET}/{OBJECT}-large-1").body == LARGE


def test_the_proof_of_one_service_does_not_empty_another(warehouse: Warehouse) -> None:
    warehouse.fill()
    headers = {wire.HEADER: wire.proof(SECRET, "tabled")}
    assert warehouse.iwhd.request("POST", wire.PATH, b".", headers).status == 403
    assert warehouse.iwhd.request("GET", f"/{BUCKET}/{OBJECT}-small-1").body == SMALL


def test_daemons_without_the_secret_refuse(tmp_path: Path) -> None:
    assert "HAILD_EMPTYING" not in os.environ
    with s3_service(tmp_path) as service:
        iwhd = Iwhd(tmp_path / "iwhd", [service.provider()])
        try:
            iwhd.start()
            warehouse = Warehouse(tmp_path, service, iwhd)
            warehouse.fill()
            for place in ("iwhd", "tabled", "chunkd", "cld"):
                # As an unknown request: one may wait for the rest of it.
                with pytest.raises(NotEmptiedError):
                    asyncio.run(empty(warehouse.places(place), "", 1.0))
            assert iwhd.request("GET", f"/{BUCKET}/{OBJECT}-small-1").body == SMALL
        finally:
            iwhd.close()


def test_nothing_is_served_until_the_driver_lets_go_and_its_death_lets_go(warehouse: Warehouse) -> None:
    warehouse.fill()
    with socket.create_connection(("127.0.0.1", warehouse.iwhd.port), timeout=20) as driver:
        lines = [f"{name}: {value}" for name, value in wire.request_headers(SECRET, "iwhd").items()]
        head = "\r\n".join([f"POST {wire.PATH} HTTP/1.1", "Host: localhost", *lines, "", ""])
        driver.sendall(head.encode())
        answer = b""
        while wire.EMPTIED not in answer:
            piece = driver.recv(4096)
            assert piece, answer
            answer += piece
        assert warehouse.iwhd.request("GET", "/").status == 503
    eventually(lambda: warehouse.iwhd.request("GET", f"/{BUCKET}").status == 404, "iwhd serves, and is empty")


def test_an_emptying_that_was_cut_off_is_finished_by_the_next_start(warehouse: Warehouse) -> None:
    warehouse.fill()
    warehouse.iwhd.kill()
    metadata = warehouse.root / "iwhd/_db"
    (metadata / "emptying").touch()
    warehouse.iwhd.start()
    assert warehouse.iwhd.request("GET", f"/{BUCKET}").status == 404
    assert not (metadata / "emptying").exists()


def test_a_killed_store_is_whole_or_empty(warehouse: Warehouse) -> None:
    warehouse.fill()
    warehouse.empty("chunkd")
    warehouse.service.chunkd.kill()
    warehouse.service.chunkd.start()
    # The metadata above still name what is gone: so the services below are never emptied first.
    assert warehouse.iwhd.request("GET", f"/{BUCKET}/{OBJECT}-large-1").status >= 500
    warehouse.empty()
    eventually(warehouse.works, "a bucket and an object can be stored again")
