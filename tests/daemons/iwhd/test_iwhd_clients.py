"""Whole clients against a real daemon: curl, as in scripts of 2011, and a Python client of ours."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from haild.client.http import RefusedError
from haild.client.iwhd import IwhdClient
from support.iwhd_daemon import Iwhd, eventually, fs, running


@pytest.fixture
def iwhd(tmp_path: Path) -> Iterator[Iwhd]:
    with running(Iwhd(tmp_path, [fs(tmp_path), fs(tmp_path, "copies", tier="cold")])) as daemon:
        yield daemon
        assert "Traceback" not in daemon.log.read_text()


class Curl:
    """curl, with nothing of this machine's own settings."""

    def __init__(self, iwhd: Iwhd) -> None:
        self.address = f"http://127.0.0.1:{iwhd.port}"
        self.home = iwhd.directory
        self.program = shutil.which("curl") or pytest.skip("curl is not installed: apt-get install curl")

    def __call__(self, path: str, *words: str) -> tuple[int, str]:
        """The status and the body of a request."""
        command = [self.program, "-q", "-sS", "-w", "%{stderr}%{http_code}", *words, self.address + path]
        done = subprocess.run(command, capture_output=True, cwd=self.home, timeout=30)
        assert done.returncode == 0, done.stderr.decode()
        return int(done.stderr[-3:]), done.stdout.decode()


def test_curl(iwhd: Iwhd) -> None:
    """The shapes of iwhd.md, byte for byte."""
    curl = Curl(iwhd)
    address = curl.address
    (iwhd.directory / "image").write_bytes(os.urandom(3_000_000))
    assert curl("/images", "-X", "PUT") == (201, "")
    assert curl("/images", "-X", "PUT") == (500, "")
    assert curl("/_new", "-d", "name=more") == (201, "")
    assert curl("/_new", "-F", "name=form") == (201, "")
    links = "".join(f'\t<link rel="bucket" href="{address}/{name}"/>\n' for name in ("images", "more", "form"))
    assert curl("/") == (
        200,
        '<api service="image_warehouse" version="0.96">\n'
        f'\t<link rel="bucket_factory" href="{address}/_new"/>\n'
        f'\t<link rel="provider_list" href="{address}/_providers"/>\n'
        f"{links}</api>\n",
    )
    assert curl("/images") == (200, "<objects>\n</objects>\n")
    assert curl("/images", "-H", "Accept: application/json") == (200, "[\n]\n")
    assert curl("/images/one", "-T", "image") == (201, "")
    # Through a pipe: chunked.
    piped = subprocess.run(
        [curl.program, "-q", "-sS", "-T", "-", f"{address}/images/two"],
        input=b"from a pipe",
        capture_output=True,
        check=True,
    )
    assert piped.stdout == b""
    assert curl("/images/two") == (200, "from a pipe")
    assert curl("/images/one", "-o", "back") == (200, "")
    assert (iwhd.directory / "back").read_bytes() == (iwhd.directory / "image").read_bytes()
    assert curl("/images/one/arch", "-X", "PUT", "-d", "x86_64") == (201, "")
    assert curl("/images/one/os", "-X", "PUT", "-H", "X-redhat-value: Fedora 15") == (201, "")
    assert curl("/images", "-d", "_key=two", "-d", "arch=i386", "--data-urlencode", "note=a & b") == (200, "")
    assert curl("/images/two/note") == (200, "a & b")
    listed = (
        f'<object>\n\t<object_body path="{address}/images/one"/>\n'
        f'\t<object_attr_list path="{address}/images/one/_attrs"/>\n'
        f'\t<object_attr name="arch" path="{address}/images/one/arch"/>\n'
        f'\t<object_attr name="os" path="{address}/images/one/os"/>\n</object>\n'
    )
    assert curl("/images/one/_attrs") == (200, listed)
    assert curl("/images/one", "-d", "op=parts") == (200, listed)
    one = "\t<object>\n\t\t<bucket>images</bucket>\n\t\t<key>one</key>\n\t</object>\n"
    two = one.replace("one", "two")
    assert curl("/images") == (200, f"<objects>\n{one}{two}</objects>\n")
    assert curl("/images/_query", "-d", '$arch == "x86_64"') == (200, f"<objects>\n{one}</objects>\n")
    assert curl("/images/_query", "-d", '$arch == "ppc"') == (404, "")
    element = '\t{\n\t\t"bucket": "images",\n\t\t"key": "%s"\n\t}'
    both = f"[\n{element % 'one'},\n{element % 'two'}\n]\n"
    assert curl("/images", "-H", "Accept: text/json") == (200, both)
    provider = '\t<provider name="%s">\n\t\t<type>fs</type>\n\t\t<host></host>\n\t\t<port>0</port>\n'
    provider += "\t\t<username></username>\n\t\t<password></password>\n\t</provider>\n"
    assert curl("/_providers") == (
        200,
        f"<providers>\n{provider % 'copies'}{provider % 'primary'}</providers>\n",
    )
    assert curl("/_providers/_primary") == (200, "primary")
    assert curl("/", "-d", "op=rep_status") == (200, "0 requests\n")
    assert curl("/images/one", "-d", "op=push", "-d", '_policy=#tier == "cold"') == (200, "")
    eventually(lambda: curl("/images/one", "-d", "op=check&depot=copies") == (200, ""), "the copy is there")
    assert curl("/images/one", "-I")[0] == 200
    for key in ("one", "two"):
        assert curl(f"/images/{key}", "-X", "DELETE") == (200, "")
    assert curl("/images/one") == (404, "")
    assert curl("/images", "-X", "DELETE") == (200, "")


async def test_a_python_client(iwhd: Iwhd) -> None:
    async with IwhdClient("127.0.0.1", iwhd.port) as client:
        await client.health()
        await client.create_bucket("images")
        assert await client.buckets() == ["images"]
        body = os.urandom(2_000_000)
        put = client.start_put("images", "one")
        for start in range(0, len(body), 300_000):
            await put.write(body[start : start + 300_000])
        etag = await put.finish()
        assert len(etag) == 16
        await client.put_object("images", "known length", b"x" * 1000)
        async with client.get_object("images", "one") as found:
            assert b"".join([block async for block in found]) == body
        assert (await client.head_object("images", "one")).size == len(body)
        assert await client.attribute("images", "one", "_etag") == etag.encode()
        await client.set_attribute("images", "one", "color", b"blue")
        await client.set_attributes("images", "one", {"odd & even": b"\xff=&", "größe": b"1"})
        assert await client.attribute_names("images", "one") == ["color", "odd & even", "größe"]
        assert await client.attribute("images", "one", "odd & even") == b"\xff=&"
        assert await client.attribute("images", "one", "none") is None
        assert await client.query("images", '$color == "blue"') == ["one"]
        assert await client.query("images", '$color == "red"') == []
        await client.unset_attribute("images", "one", "color")
        assert await client.attribute("images", "one", "color") is None
        assert await client.operate("images", "one", {"op": "push", "_policy": "1"}) == b""
        assert await client.queue_length() in range(3)
        assert await client.keys("images") == ["one", "known length"]
        with pytest.raises(RefusedError) as refused:
            await client.delete_bucket("images")
        assert refused.value.status == 409
        for key in await client.keys("images"):
            await client.delete_object("images", key)
        await client.delete_bucket("images")
        assert await client.buckets() == []
