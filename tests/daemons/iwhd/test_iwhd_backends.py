"""The back ends `http` and `cf` as primaries, and every back end against the same rules."""

from __future__ import annotations

import contextlib
import json
import os
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from haild.iwhd import configuration
from haild.iwhd import provider as provider_package
from haild.iwhd.provider import backend, create
from haild.iwhd.provider.base import ExistsError, MissingError, Provider, ProviderError, Publication, UnavailableError
from haild.iwhd.settings import ProviderSettings, ProviderSettingsError
from support.iwhd_daemon import Iwhd, fs, running
from support.iwhd_swift import KEY, USER, SwiftService
from support.ports import free_port

pytestmark = pytest.mark.slow

CONTENT = os.urandom(1 << 20) * 3


@contextlib.contextmanager
def swift(**options: Any) -> Iterator[SwiftService]:
    service = SwiftService(**options)
    thread = threading.Thread(target=service.serve_forever)
    thread.start()
    try:
        yield service
    finally:
        service.shutdown()
        service.server_close()
        thread.join()


HTTP = {"scheme": "http"}


def cf(port: int) -> dict[str, Any]:
    account = {"key": USER, "secret": KEY, "scheme": "http"}
    return {"name": "primary", "type": "cf", "host": "127.0.0.1", "port": port, **account}


@pytest.fixture(scope="module")
def behind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Iwhd]:
    """The warehouse that the provider `http` stands for."""
    root = tmp_path_factory.mktemp("behind")
    with running(Iwhd(root, [fs(root)])) as daemon:
        yield daemon


@contextlib.contextmanager
def settings_for(kind: str, root: Path, behind: Iwhd) -> Iterator[ProviderSettings]:
    if kind == "fs":
        yield ProviderSettings(**fs(root))  # type: ignore[arg-type]
    elif kind == "http":
        yield ProviderSettings("primary", "http", "127.0.0.1", behind.port)
    else:
        with swift(token_uses=3) as service:
            values = cf(service.port)
            attributes = {"scheme": values.pop("scheme")}
            yield ProviderSettings(**values, attributes=attributes)


@pytest.fixture(params=["fs", "http", "cf"])
async def provider(request: pytest.FixtureRequest, tmp_path: Path, behind: Iwhd) -> AsyncIterator[Provider]:
    with settings_for(request.param, tmp_path, behind) as settings:
        provider = create(settings, tmp_path)
        await provider.recover(frozenset())
        yield provider
        for key in ("k", "chunked", "empty", "é 1"):
            with contextlib.suppress(ProviderError):
                await provider.delete("b", key)
        with contextlib.suppress(ProviderError):
            await provider.delete_bucket("b")
        await provider.close()


async def put(provider: Provider, key: str, content: bytes, length: int | None, etag: str = "e1") -> Publication:
    upload = await provider.start_upload("b", key, length=length, etag=etag)
    for start in range(0, len(content), 300_000):
        await upload.write(content[start : start + 300_000])
    publication = Publication("b", key, etag, await upload.prepare())
    with pytest.raises(MissingError):
        await read(provider, key)
    await upload.publish()
    return publication


async def read(provider: Provider, key: str) -> bytes:
    async with provider.open("b", key) as body:
        content = b"".join([block async for block in body.blocks])
        assert body.size in (None, len(content))
        return content


async def test_rules(provider: Provider) -> None:
    with pytest.raises(MissingError):
        await provider.check_bucket("b")
    await provider.create_bucket("b")
    await provider.check_bucket("b")
    with contextlib.suppress(ExistsError):
        await provider.create_bucket("b")
    for key, content, length in (
        ("k", CONTENT, len(CONTENT)),
        ("chunked", CONTENT, None),
        ("empty", b"", 0),
        ("é 1", b"1", 1),
    ):
        publication = await put(provider, key, content, length)
        assert await read(provider, key) == content
        assert await provider.settle(publication)
    with pytest.raises(ProviderError):
        await provider.delete_bucket("b")
    for key in ("k", "chunked", "empty", "é 1"):
        await provider.delete("b", key)
        with pytest.raises(MissingError):
            await read(provider, key)
    await provider.delete_bucket("b")
    with pytest.raises(MissingError):
        await provider.check_bucket("b")


async def test_what_is_not_published_is_not_there(provider: Provider) -> None:
    await provider.create_bucket("b")
    old = await put(provider, "k", b"old", 3)
    for prepared in (False, True):
        upload = await provider.start_upload("b", "k", length=len(CONTENT), etag="e2")
        await upload.write(CONTENT[:1000])
        await upload.write(CONTENT[1000:])
        token = await upload.prepare() if prepared else ""
        await upload.abort()
        assert await read(provider, "k") == b"old"
    assert not await provider.settle(Publication("b", "k", "e2", token))
    assert await provider.settle(old)


async def test_the_metadata_are_no_bucket(tmp_path: Path) -> None:
    """In a stack they are below the path of the provider (-d /var/lib/iwhd/_db)."""
    settings = ProviderSettings(**fs(tmp_path))  # type: ignore[arg-type]
    root = Path(settings.path)
    spool = root / "_db" / "spool"
    spool.mkdir(parents=True)
    provider = create(settings, spool)
    await provider.recover(frozenset())
    for bucket in ("_db", ".iwhd", "..", "a/b", "a\0b"):
        for action in (
            provider.create_bucket(bucket),
            provider.delete_bucket(bucket),
            provider.check_bucket(bucket),
            provider.start_upload(bucket, "iwhd.db", length=1, etag="e"),
            provider.delete(bucket, "iwhd.db"),
        ):
            with pytest.raises(MissingError):
                await action
        with pytest.raises(MissingError):
            async with provider.open(bucket, "iwhd.db"):
                pass
    await provider.create_bucket("b")
    for key in ("", ".", "..", "../_db", "a\0b"):
        with pytest.raises(MissingError):
            await provider.start_upload("b", key, length=1, etag="e")
    assert sorted(path.name for path in root.iterdir()) == [".iwhd", "_db", "b"]


async def test_an_unreachable_service(tmp_path: Path) -> None:
    for settings in (
        ProviderSettings("p", "http", "127.0.0.1", free_port()),
        ProviderSettings("p", "cf", "127.0.0.1", free_port(), "u", "k", attributes={"scheme": "http"}),
        ProviderSettings("p", "s3", "127.0.0.1", free_port(), "u", "k"),
    ):
        provider = create(settings, tmp_path)
        with pytest.raises(UnavailableError):
            await provider.check_bucket("b")
        with pytest.raises(UnavailableError):
            await provider.delete("b", "k")
        with pytest.raises(UnavailableError):
            async with provider.open("b", "k"):
                pass
        await provider.close()


def exercise(iwhd: Iwhd, bucket: str) -> None:
    assert iwhd.request("PUT", f"/{bucket}").status == 201
    assert iwhd.request("PUT", f"/{bucket}").status == 500
    assert iwhd.request("PUT", f"/{bucket}/k", CONTENT).status == 201
    assert iwhd.request("GET", f"/{bucket}/k").body == CONTENT
    assert iwhd.request("GET", f"/{bucket}/none").status == 404
    assert iwhd.request("GET", "/_health").status == 200
    assert iwhd.request("DELETE", f"/{bucket}/k").status == 200
    assert iwhd.request("GET", f"/{bucket}/k").status == 404
    assert iwhd.request("DELETE", f"/{bucket}").status == 200


def test_cf_as_primary(tmp_path: Path) -> None:
    with swift(token_uses=4) as service, running(Iwhd(tmp_path, [cf(service.port)])) as iwhd:
        exercise(iwhd, "cf-primary")
        assert service.containers == {}
        assert service.logins > 1


async def test_cf_with_a_wrong_key(tmp_path: Path) -> None:
    with swift() as service:
        provider = create(ProviderSettings("p", "cf", "127.0.0.1", service.port, USER, "x", "", HTTP), tmp_path)
        with pytest.raises(UnavailableError, match="401"):
            await provider.create_bucket("b")
        await provider.close()


def test_http_as_primary(behind: Iwhd, tmp_path: Path) -> None:
    buckets = behind.request("GET", "/").text
    primary = {"name": "primary", "type": "http", "host": "127.0.0.1", "port": behind.port}
    with running(Iwhd(tmp_path, [primary])) as front:
        exercise(front, "http-primary")
    assert behind.request("GET", "/").text == buckets


BACK_END = '''
from haild.iwhd.provider.backend.fs import FileProvider

class Shelf(FileProvider):
    """Directories with a level of their own."""
    types = ("shelf", "shelf-high")
    needs = ("path", "host")
'''


async def test_a_back_end_is_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "shelf.py").write_text(BACK_END)
    monkeypatch.setattr(backend, "__path__", [*backend.__path__, str(tmp_path)])
    assert {"shelf", "shelf-high", "fs", "fs-rhev-m", "fs-condor", "fs-vmw", "s3", "http", "cf"} == set(
        provider_package.types()
    )
    entry = {"name": "p", "type": "shelf-high", "path": str(tmp_path)}
    with pytest.raises(ProviderSettingsError, match="'host' is missing"):
        configuration.parse(json.dumps([entry]).encode())
    (settings,) = configuration.parse(json.dumps([entry | {"host": "h"}]).encode()).providers
    provider = create(settings, tmp_path / "spool")
    assert type(provider).__name__ == "Shelf"
    await provider.create_bucket("b")
    assert (tmp_path / "b").is_dir()
    for unknown in ("base", "shelf-low", "", "..", "fs-", "remote", "backend"):
        assert provider_package.back_end(unknown) is None
