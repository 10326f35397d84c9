"""Replication between real warehouses: policies, targets that are away, deletions, slaves (iwhd.md section 10)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.iwhd_daemon import FORM, Iwhd, eventually, fs, running

pytestmark = pytest.mark.slow


def http_provider(name: str, port: int, **more: str) -> dict[str, Any]:
    return {"name": name, "type": "http", "host": "127.0.0.1", "port": port, **more}


class Pair:
    """A master with a directory and a slave as targets, and the slave."""

    def __init__(self, root: Path) -> None:
        self.slave = Iwhd(root / "s", [fs(root, "slave")], "-m", "127.0.0.1:1")
        targets = [fs(root, "copies", tier="cold"), http_provider("slave", self.slave.port, tier="warm")]
        self.master = Iwhd(root / "m", [fs(root), *targets])
        master_address = f"127.0.0.1:{self.master.port}"
        self.slave.arguments[self.slave.arguments.index("127.0.0.1:1")] = master_address
        self.copies = root / "copies"

    def bucket(self, name: str, policy: str) -> None:
        assert self.master.request("PUT", f"/{name}").status == 201
        assert self.master.request("PUT", f"/{name}/_default/_policy", policy).status == 201

    def settled(self) -> None:
        """Wait until nothing is queued."""
        eventually(lambda: self.length() == 0, f"the queue is empty; {self.length()} items")

    def length(self) -> int:
        return int(self.master.request("POST", "/", "op=rep_status", FORM).text.removesuffix(" requests\n"))

    def check(self, path: str, depot: str) -> int:
        return self.master.request("POST", path, f"op=check&depot={depot}", FORM).status


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    pair = Pair(tmp_path_factory.mktemp("pair"))
    with running(pair.slave), running(pair.master):
        yield pair


def test_a_new_bucket_is_everywhere_and_its_objects_are_nowhere(pair: Pair) -> None:
    assert pair.master.request("PUT", "/never").status == 201
    assert pair.master.request("PUT", "/never/k", b"x").status == 201
    pair.settled()
    assert (pair.copies / "never").is_dir()
    assert pair.slave.request("GET", "/never").text == "<objects>\n</objects>\n"
    assert not (pair.copies / "never" / "k").exists()
    assert pair.check("/never/k", "copies") == 404


def test_policies_choose_objects_and_targets(pair: Pair) -> None:
    pair.bucket("chosen", '$color == "blue" && #tier == "cold" || $everywhere')
    for key, attributes in (("a", "color=blue"), ("b", "color=red"), ("c", "everywhere=1"), ("d", "_policy=%40")):
        assert pair.master.request("PUT", f"/chosen/{key}", key.encode() * 1000).status == 201
        assert pair.master.request("POST", "/chosen", f"_key={key}&{attributes}", FORM).status == 200
    pair.settled()
    held = {key: (pair.check(f"/chosen/{key}", "copies"), pair.check(f"/chosen/{key}", "slave")) for key in "abcd"}
    assert held == {"a": (200, 404), "b": (404, 404), "c": (200, 200), "d": (404, 404)}
    assert (pair.copies / "chosen" / "a").read_bytes() == b"a" * 1000
    assert pair.slave.request("GET", "/chosen/c/everywhere").text == "1"
    # For this once, by the form.
    assert pair.master.request("POST", "/chosen/b", "op=push&_policy=1", FORM).status == 200
    pair.settled()
    assert (pair.check("/chosen/b", "copies"), pair.check("/chosen/b", "slave")) == (200, 200)


def test_changes_and_deletions_follow(pair: Pair) -> None:
    pair.bucket("follow", "1")
    for content in (b"one", b"two" * 100_000):
        assert pair.master.request("PUT", "/follow/k", content).status == 201
        assert pair.master.request("PUT", "/follow/k/color", "blue & green").status == 201
        pair.settled()
        # An attribute change must not replace the body by anything else.
        assert (pair.copies / "follow" / "k").read_bytes() == content
        assert (Path(pair.slave.directory).parent / "slave" / "follow" / "k").read_bytes() == content
        assert pair.slave.request("GET", "/follow/k/color").text == "blue & green"
    assert pair.master.request("DELETE", "/follow/k/color").status == 200
    pair.settled()
    assert pair.slave.request("GET", "/follow/k/color").status == 404
    assert pair.master.request("DELETE", "/follow/k").status == 200
    pair.settled()
    assert not (pair.copies / "follow" / "k").exists()
    assert pair.slave.request("GET", "/follow").text == "<objects>\n</objects>\n"
    assert pair.master.request("DELETE", "/follow").status == 200
    pair.settled()
    assert not (pair.copies / "follow").exists()
    assert pair.slave.request("GET", "/follow").status == 404


def test_a_lost_copy_is_pushed_again(pair: Pair) -> None:
    pair.bucket("again", "1")
    assert pair.master.request("PUT", "/again/k", b"x").status == 201
    pair.settled()
    (pair.copies / "again" / "k").unlink()
    (pair.copies / "again").rmdir()
    assert pair.master.request("POST", "/again/k", "op=push", FORM).status == 200
    pair.settled()
    assert (pair.copies / "again" / "k").read_bytes() == b"x"


def test_a_slave_takes_bodies_from_its_master_only(pair: Pair) -> None:
    pair.bucket("roles", "0")
    pair.settled()
    assert pair.slave.request("PUT", "/roles/k", b"x").status == 403
    copy = pair.slave.request("PUT", "/roles/k", b"x", {"X-redhat-role": "master"})
    assert (copy.status, "ETag" in copy.headers) == (201, False)


def test_a_slave_fetches_what_it_lacks(pair: Pair) -> None:
    content = bytes(range(256)) * 8000
    pair.bucket("fetch", "0")
    pair.settled()
    assert pair.master.request("PUT", "/fetch/k", content).status == 201
    assert pair.master.request("PUT", "/fetch/k/color", "blue").status == 201
    assert pair.slave.request("GET", "/fetch/none").status == 404
    assert pair.slave.request("GET", "/fetch/none").status == 404  # and that was not kept
    for _ in range(2):
        got = pair.slave.request("GET", "/fetch/k")
        assert (got.status, got.body == content) == (200, True)
    pair.master.kill()
    try:
        assert pair.slave.request("GET", "/fetch/k").body == content
        assert pair.slave.request("GET", "/fetch/k/color").text == "blue"
        assert pair.slave.request("GET", "/fetch/other").status == 503
    finally:
        pair.master.start()


def test_work_survives_either_side_being_killed(pair: Pair) -> None:
    pair.bucket("kept", "1")
    pair.settled()
    pair.slave.kill()
    contents = {f"k{number}": bytes([number]) * 10_000 for number in range(8)}
    for key, content in contents.items():
        assert pair.master.request("PUT", f"/kept/{key}", content).status == 201
        assert pair.master.request("PUT", f"/kept/{key}/n", key).status == 201
    assert pair.master.request("DELETE", "/kept/k0").status == 200
    leftover = pair.copies / ".iwhd" / "uploads" / "leftover"
    leftover.write_bytes(b"of a killed daemon")
    eventually(lambda: all((pair.copies / "kept" / key).exists() for key in list(contents)[1:]), "the other target")
    assert pair.length() > 0
    pair.master.kill()
    pair.slave.start()
    pair.master.start()
    pair.settled()
    for key, content in list(contents.items())[1:]:
        assert pair.slave.request("GET", f"/kept/{key}/n").text == key
        assert (Path(pair.slave.directory).parent / "slave" / "kept" / key).read_bytes() == content
    assert pair.slave.request("GET", "/kept/k0/n").status == 404
    assert not leftover.exists()


def test_providers_come_and_go(pair: Pair, tmp_path: Path) -> None:
    added = tmp_path / "added"
    added.mkdir()
    access = {"paths": [str(added)], "providers": ["127.0.0.1"]}
    with running(Iwhd(tmp_path, [fs(tmp_path)], access=access)) as iwhd:
        post = lambda path, body: iwhd.request("POST", path, body, FORM).status  # noqa: E731
        assert post("/_providers/x", "type=fs&path=/tmp") == 400
        assert post("/_providers/x", "type=fs&path=/tmp&port=a") == 400
        assert post("/_providers/x", "type=fs&port=1") == 400
        assert post("/_providers/x", "type=fs-condor&port=1&path=/tmp") == 400
        assert post("/_providers/x", "type=s3&host=h&key=k&secret=s") == 400
        assert post("/_providers/x", "name=x&type=fs&port=1&path=/tmp") == 400
        assert post("/_providers/_primary", "type=fs&port=1&path=/tmp") == 400
        for _ in range(2):
            assert post("/_providers/added", f"type=fs&port=1&path={added}&tier=cold") == 200
        listed = json.loads(iwhd.request("GET", "/_providers", headers={"Accept": "x/json"}).body)
        assert [entry["name"] for entry in listed] == ["added", "primary"]
        assert iwhd.request("PUT", "/b").status == 201
        assert iwhd.request("PUT", "/b/_default/_policy", '#tier == "cold"').status == 201
        assert iwhd.request("PUT", "/b/k", b"x").status == 201
        eventually(lambda: (added / "b" / "k").exists(), "the copy is there")
        # Another warehouse without a master takes copies too.
        peer = f"type=http&host=127.0.0.1&port={pair.master.port}&tier=cold"
        assert post("/_providers/peer", peer) == 200
        assert iwhd.request("PUT", "/b/peer", b"x" * 300_000).status == 201
        eventually(lambda: pair.master.request("GET", "/b/peer").body == b"x" * 300_000, "the copy is at the peer")
        assert iwhd.request("DELETE", "/_providers/peer").status == 200
        assert iwhd.request("PUT", "/_providers/none/_primary").status == 400
        assert iwhd.request("DELETE", "/_providers/primary").status == 404
        assert iwhd.request("PUT", "/_providers/added/_primary").status == 200
        assert iwhd.request("GET", "/_providers/_primary").text == "added"
        assert iwhd.request("PUT", "/b/only-there", b"y").status == 201
        assert (added / "b" / "only-there").read_bytes() == b"y"
        assert iwhd.request("GET", "/b/k").body == b"x"
        assert iwhd.request("DELETE", "/_providers/added").status == 404
        assert iwhd.request("PUT", "/_providers/primary/_primary").status == 200
        assert iwhd.request("DELETE", "/_providers/added").status == 200
        assert iwhd.request("DELETE", "/_providers/added").status == 200
        assert iwhd.request("DELETE", "/_providers/none").status == 404
        assert iwhd.request("PUT", "/b/later", b"z").status == 201
        assert iwhd.request("POST", "/", "op=rep_status", FORM).text == "0 requests\n"
        assert not (added / "b" / "later").exists()


def test_copies_of_copies(tmp_path: Path) -> None:
    """A warehouse that is sent a copy asks the policy itself, so chains work (iwhd.md section 10)."""
    last = Iwhd(tmp_path / "3", [fs(tmp_path, "third")])
    middle = Iwhd(tmp_path / "2", [fs(tmp_path, "second"), http_provider("third", last.port)])
    first = Iwhd(tmp_path / "1", [fs(tmp_path, "first"), http_provider("second", middle.port)])
    with running(last), running(middle), running(first):
        assert first.request("PUT", "/b").status == 201
        for key, policy in (("far", "1"), ("near", '#name == "second"'), ("here", "0")):
            assert first.request("POST", "/b", f"_key={key}&_policy={policy}&color=blue", FORM).status == 200
            assert first.request("PUT", f"/b/{key}", key).status == 201
        eventually(lambda: last.request("GET", "/b/far").body == b"far", "the copy of the copy is there")
        eventually(lambda: last.request("GET", "/b/far/color").text == "blue", "its attributes, too")
        assert middle.request("GET", "/b/near").body == b"near"
        for warehouse, key in ((middle, "here"), (last, "near"), (last, "here")):
            assert warehouse.request("GET", f"/b/{key}").status == 404
        assert middle.request("POST", "/b/far", "op=check&depot=third", FORM).status == 200
