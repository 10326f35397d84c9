"""Body and metadata agree, wherever the daemon is cut off.

The steps of a put are cut one by one in this process; a real daemon is killed at arbitrary moments.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import http.client
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from haild.iwhd.metadata import journal, records
from haild.iwhd.metadata.sqlite import SqliteDatabase
from haild.iwhd.provider.backend.fs import FileProvider
from haild.iwhd.provider.base import MissingError, ProviderError, Publication, UnavailableError, Upload
from haild.iwhd.settings import ProviderSettings
from haild.iwhd.warehouse.bucket import Buckets
from haild.iwhd.warehouse.directory import ProviderDirectory
from haild.iwhd.warehouse.object import Objects
from haild.iwhd.warehouse.queue import ReplicationQueue
from support.iwhd_daemon import Iwhd, eventually, fs, running

pytestmark = pytest.mark.slow


class CutError(BaseException):
    """The daemon dies here."""


class CutUpload(Upload):
    def __init__(self, inner: Upload, cut: str) -> None:
        self.inner = inner
        self.cut = cut

    async def write(self, piece: bytes) -> None:
        await self.inner.write(piece)
        if self.cut == "write":
            raise CutError

    async def prepare(self) -> str:
        token = await self.inner.prepare()
        if self.cut == "prepare":
            raise CutError
        return token

    async def publish(self) -> None:
        if self.cut == "before publish":
            raise CutError
        if self.cut == "publish fails":
            raise UnavailableError("gone")
        await self.inner.publish()
        if self.cut == "after publish":
            raise CutError
        if self.cut == "publish unsure":
            raise UnavailableError("no answer")

    async def abort(self) -> None:
        # A daemon that dies aborts nothing.
        if self.cut in ("publish fails", "publish unsure"):
            await self.inner.abort()


class CutProvider(FileProvider):
    cut = ""
    settles = True

    async def start_upload(self, bucket: str, key: str, *, length: int | None, etag: str) -> Upload:
        return CutUpload(await super().start_upload(bucket, key, length=length, etag=etag), self.cut)

    async def settle(self, publication: Publication) -> bool:
        if not self.settles:
            raise UnavailableError("still gone")
        return await super().settle(publication)

    async def delete(self, bucket: str, key: str) -> None:
        if self.cut == "before delete":
            raise CutError
        await super().delete(bucket, key)
        if self.cut == "after delete":
            raise CutError


class Warehouse:
    """The parts of a daemon without its network face."""

    def __init__(self, root: Path, cut: str = "") -> None:
        settings = ProviderSettings("primary", "fs", path=str(root / "fs"))
        self.database = SqliteDatabase(root / "_db")
        self.directory = ProviderDirectory([settings], root)
        self.provider = CutProvider(settings, root)
        self.provider.cut = cut
        self.directory.primary = self.directory._providers["primary"] = self.provider
        queue = ReplicationQueue(self.database, self.directory)
        self.objects = Objects(self.database, self.directory, queue)
        self.buckets = Buckets(self.database, self.directory, queue)

    async def put(self, content: bytes) -> str:
        async def pieces() -> AsyncIterator[bytes]:
            yield content

        put = await self.objects.start_put("b", "k", None)
        return (await put.take(pieces())).etag

    async def state(self) -> tuple[str, bytes] | None:
        """The etag and the body of the object; fails if only one of them is there or the size differs."""
        record = await self.objects.find("b", "k")
        try:
            async with (await self.objects.reading("b", "k")).open() as body:
                content = b"".join([block async for block in body.blocks])
        except MissingError:
            assert record is None
            return None
        assert record is not None
        assert record.etag is not None
        assert record.size == len(content)
        return record.etag, content


@contextlib.asynccontextmanager
async def opened(root: Path, cut: str = "") -> AsyncIterator[Warehouse]:
    (root / "fs").mkdir(exist_ok=True)
    warehouse = Warehouse(root, cut)
    try:
        await warehouse.objects.start()
        yield warehouse
    finally:
        await warehouse.objects.close()
        await warehouse.database.close()


@pytest.mark.parametrize("existing", [False, True], ids=["new", "overwritten"])
@pytest.mark.parametrize(
    ("cut", "survives"),
    [("write", False), ("prepare", False), ("before publish", True), ("after publish", True)],
)
async def test_put_cut_off(tmp_path: Path, cut: str, survives: bool, existing: bool) -> None:
    before = None
    async with opened(tmp_path) as warehouse:
        await warehouse.buckets.create("b")
        if existing:
            before = (await warehouse.put(b"old"), b"old")
    async with opened(tmp_path, cut) as warehouse:
        with pytest.raises(CutError):
            await warehouse.put(b"newer")
    async with opened(tmp_path) as warehouse:
        state = await warehouse.state()
        if survives:
            assert state is not None
            assert state[1] == b"newer"
            assert state != before
        else:
            assert state == before
        assert await warehouse.database.read(journal.pending) == []
        assert await warehouse.put(b"after") != ""
    assert list((tmp_path / "fs" / ".iwhd" / "uploads").iterdir()) == []


@pytest.mark.parametrize("cut", ["before delete", "after delete"])
async def test_delete_cut_off(tmp_path: Path, cut: str) -> None:
    async with opened(tmp_path) as warehouse:
        await warehouse.buckets.create("b")
        await warehouse.put(b"old")
    async with opened(tmp_path, cut) as warehouse:
        with pytest.raises(CutError):
            await warehouse.objects.delete("b", "k")
    async with opened(tmp_path) as warehouse:
        assert await warehouse.state() is None
        assert await warehouse.database.read(lambda connection: records.find(connection, "b", "k")) is None


async def test_a_publication_without_an_answer_is_found_out(tmp_path: Path) -> None:
    async with opened(tmp_path) as warehouse:
        await warehouse.buckets.create("b")
        old = await warehouse.put(b"old")
        warehouse.provider.cut = "publish unsure"
        new = await warehouse.put(b"new")
        assert await warehouse.state() == (new, b"new")
        assert new != old
        # A failed one that the provider can still carry out is carried out.
        warehouse.provider.cut = "publish fails"
        third = await warehouse.put(b"third")
        assert await warehouse.state() == (third, b"third")


async def test_an_open_publication_blocks_its_object_only(tmp_path: Path) -> None:
    async with opened(tmp_path) as warehouse:
        await warehouse.buckets.create("b")
        await warehouse.put(b"old")
        warehouse.provider.cut = "publish unsure"
        warehouse.provider.settles = False
        with pytest.raises(UnavailableError):
            await warehouse.put(b"new")
        with pytest.raises(UnavailableError):
            await warehouse.objects.find("b", "k")
        with pytest.raises(UnavailableError):
            await warehouse.put(b"newer")
        assert await warehouse.objects.find("b", "other") is None
        warehouse.provider.settles = True
        assert (await warehouse.state() or ("", b""))[1] == b"new"


async def test_concurrent_puts_end_with_one_of_them_whole(tmp_path: Path) -> None:
    async with opened(tmp_path) as warehouse:
        await warehouse.buckets.create("b")
        bodies = [bytes([number]) * (100_000 + number) for number in range(20)]
        etags = await asyncio.gather(*map(warehouse.put, bodies))
        assert len(set(etags)) == len(bodies)
        state = await warehouse.state()
        assert state is not None
        assert state == (etags[bodies.index(state[1])], state[1])


async def test_one_of_concurrent_creations_succeeds(tmp_path: Path) -> None:
    async with opened(tmp_path) as warehouse:
        creations = [warehouse.buckets.create("b") for _ in range(8)]
        results = await asyncio.gather(*creations, return_exceptions=True)
        assert results.count(None) == 1
        assert await warehouse.database.read(records.buckets) == ["b"]


async def test_failed_changes_take_no_others_with_them(tmp_path: Path) -> None:
    async with opened(tmp_path) as warehouse:

        def change(number: int) -> Callable[[object], int]:
            def function(connection: object) -> int:
                records.set_attributes(connection, "b", f"k{number}", [("a", b"1")])  # type: ignore[arg-type]
                if number % 3 == 0:
                    raise ValueError(number)
                return number

            return function

        results = await asyncio.gather(
            *(warehouse.database.write(change(number)) for number in range(30)), return_exceptions=True
        )
        assert [result for result in results if isinstance(result, int)] == [n for n in range(30) if n % 3]
        page = await warehouse.database.read(lambda connection: records.page(connection, "b"))
        assert [each.key for each in page.listed] == [f"k{n}" for n in range(30) if n % 3]


def test_killed_while_clients_write(tmp_path: Path) -> None:
    """What was acknowledged is there; all else is there whole or not at all."""
    acknowledged: dict[str, str] = {}
    with running(Iwhd(tmp_path, [fs(tmp_path)])) as daemon:
        assert daemon.request("PUT", "/b").status == 201

        def write(writer: int, round_: int) -> None:
            with contextlib.suppress(OSError, http.client.HTTPException):
                for number in range(1000):
                    content = f"{writer} {round_} {number} ".encode() * (1000 * writer + 1)
                    key = f"k{writer}-{number % 3}"
                    etag = daemon.request("PUT", f"/b/{key}", content).headers["ETag"]
                    acknowledged[key] = etag
                    digest = hashlib.sha256(content).hexdigest()
                    assert daemon.request("PUT", f"/b/{key}/{etag}", digest).status == 201
                    acknowledged[f"{key}/{etag}"] = digest

        for round_ in range(2):
            threads = [threading.Thread(target=write, args=(writer, round_)) for writer in range(4)]
            for thread in threads:
                thread.start()
            eventually(lambda: bool(acknowledged), "something is acknowledged")
            threads[0].join(0.1 + 0.1 * round_)
            daemon.kill()
            for thread in threads:
                thread.join()
            daemon.start()
            agree(daemon, acknowledged)


def agree(daemon: Iwhd, acknowledged: dict[str, str]) -> None:
    assert acknowledged
    for name, value in acknowledged.items():
        if "/" in name:
            assert daemon.request("GET", f"/b/{name}").text == value
            continue
        body = daemon.request("GET", f"/b/{name}").body
        etag = daemon.request("GET", f"/b/{name}/_etag").text
        assert etag == value or f"{name}/{etag}" not in acknowledged
        if etag == value:
            digest = acknowledged.get(f"{name}/{etag}")
            assert digest in (None, hashlib.sha256(body).hexdigest())
        words = body.split(b" ")
        assert body == b" ".join([*words[:3], b""]) * (len(words) // 3)
    assert list((Path(daemon.directory) / "primary" / ".iwhd" / "uploads").iterdir()) == []


async def test_a_bucket_that_disappears_during_a_put(tmp_path: Path) -> None:
    async with opened(tmp_path) as warehouse:
        await warehouse.buckets.create("b")
        put = await warehouse.objects.start_put("b", "k", 3)
        await put.write(b"new")
        (tmp_path / "fs" / "b").rmdir()
        with pytest.raises(ProviderError):
            await put.finish()
        assert await warehouse.state() is None
        assert await warehouse.database.read(journal.pending) == []
    assert list((tmp_path / "fs" / ".iwhd" / "uploads").iterdir()) == []
