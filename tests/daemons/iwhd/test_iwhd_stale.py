"""A slave never goes on serving what its master has replaced, and serves all that it has when the master is lost."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from support.iwhd_daemon import FORM, Iwhd, eventually, fs, running

pytestmark = pytest.mark.slow


@dataclass
class Sites:
    first: Iwhd
    second: Iwhd


@pytest.fixture
def sites(tmp_path: Path) -> Iterator[Sites]:
    second = Iwhd(tmp_path / "second", [fs(tmp_path, "second")])
    peer = {"name": "peer", "type": "http", "host": "127.0.0.1", "port": second.port}
    first = Iwhd(tmp_path / "first", [fs(tmp_path, "first"), peer])
    second.arguments += ["-m", f"127.0.0.1:{first.port}"]
    with running(first), running(second):
        assert first.request("PUT", "/b").status == 201
        yield Sites(first, second)


def put(iwhd: Iwhd, key: str, body: bytes, color: str) -> None:
    assert iwhd.request("PUT", f"/b/{key}", body).status == 201
    assert iwhd.request("PUT", f"/b/{key}/color", color.encode()).status == 201


def test_a_fetched_copy_is_replaced(sites: Sites) -> None:
    put(sites.first, "k", b"old", "red")
    assert sites.second.request("GET", "/b/k").body == b"old"
    assert sites.second.request("GET", "/b/k/color").text == "red"
    put(sites.first, "k", b"new body", "blue")
    assert sites.second.request("GET", "/b/k/color").text == "blue"
    eventually(lambda: sites.second.request("GET", "/b/k").body == b"new body", "the new body is served", 5)
    # Kept, too: the master may go.
    sites.first.kill()
    assert sites.second.request("GET", "/b/k").body == b"new body"
    assert sites.second.request("GET", "/b/k/color").text == "blue"
    assert sites.second.request("GET", "/b/none").status == 503


def test_a_sent_copy_is_replaced_although_no_policy_sends_any_more(sites: Sites) -> None:
    assert sites.first.request("PUT", "/b/_default/_policy", b"1").status == 201
    put(sites.first, "k", b"old", "red")
    eventually(lambda: sites.second.request("GET", "/b/k/_etag").status == 200, "the copy is sent")
    assert sites.first.request("PUT", "/b/_default/_policy", b"0").status == 201
    eventually(lambda: sites.first.request("POST", "/", "op=rep_status", FORM).text == "0 requests\n", "all is sent")
    put(sites.first, "k", b"new", "blue")
    eventually(lambda: sites.second.request("GET", "/b/k").body == b"new", "the new body is served", 5)


def test_what_the_second_has_of_its_own_stays(sites: Sites, tmp_path: Path) -> None:
    put(sites.first, "both", b"of the first", "red")
    assert sites.second.request("GET", "/b/both").body == b"of the first"
    master = sites.second.arguments[-2:]
    del sites.second.arguments[-2:]
    sites.second.stop()
    sites.second.start()
    put(sites.second, "own", b"own", "green")
    put(sites.second, "both", b"of the second", "green")
    sites.second.stop()
    sites.second.arguments += master
    sites.second.start()
    assert sites.second.request("GET", "/b/own").body == b"own"
    assert sites.second.request("GET", "/b/both").body == b"of the second"


def test_a_part_of_what_only_the_master_has(sites: Sites) -> None:
    put(sites.first, "k", b"0123456789", "red")
    answer = sites.second.request("GET", "/b/k", headers={"Range": "bytes=2-4"})
    assert (answer.status, answer.body, answer.headers["Content-Range"]) == (206, b"234", "bytes 2-4/10")
    assert sites.second.request("GET", "/b/k", headers={"Range": "bytes=10-"}).status == 416
    assert sites.second.request("GET", "/b/k/_etag").status == 404
    assert sites.second.request("GET", "/b/k").body == b"0123456789"
    eventually(lambda: sites.second.request("GET", "/b/k/_etag").status == 200, "the whole is kept")
