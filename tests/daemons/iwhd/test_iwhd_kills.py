"""Two warehouses, killed again and again at random moments while clients write: in the end both sides agree.

One seed by default; with HAILBOX_FULL=1 many, or those that HAILBOX_SEEDS names (`7` or `1-50`).
"""

from __future__ import annotations

import hashlib
import http.client
import os
import random
import threading
from pathlib import Path
from urllib.parse import quote

import pytest

from support.iwhd_daemon import FORM, Iwhd, eventually, fs, running

pytestmark = pytest.mark.slow

KEYS = [f"k{number}" for number in range(6)]
NAMES = ("color", "size of it")
ROUNDS = 5
OPERATIONS = 25
SETTLE_DEADLINE = 90.0
"""Seconds; a target that was away many times is asked again after a longer pause."""


def seeds() -> list[int]:
    if os.environ.get("HAILBOX_FULL") != "1":
        return [1]
    first, _, last = os.environ.get("HAILBOX_SEEDS", "1-12").partition("-")
    return list(range(int(first), int(last or first) + 1))


class Sites:
    """A master with a directory and a slave as its targets."""

    def __init__(self, root: Path) -> None:
        self.slave = Iwhd(root / "s", [fs(root, "slave")], "-m", "127.0.0.1:1")
        target = {"name": "slave", "type": "http", "host": "127.0.0.1", "port": self.slave.port}
        self.master = Iwhd(root / "m", [fs(root), fs(root, "copies"), target])
        self.root = root

    def queued(self) -> int:
        answer = self.master.request("POST", "/", "op=rep_status", FORM)
        return int(answer.text.removesuffix(" requests\n"))

    def files(self, site: str) -> dict[str, str]:
        """What a site has on its disk; asking a slave would make it fetch what it lacks."""
        return {
            path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in (self.root / site / "b").iterdir()
        }

    def attributes(self, site: Iwhd, key: str) -> dict[str, bytes]:
        answers = {name: site.request("GET", f"/b/{key}/{quote(name)}") for name in NAMES}
        return {name: answer.body for name, answer in answers.items() if answer.status == 200}


class Writer:
    """One client. `whole` is what it knows of its keys; a request without an answer leaves that open."""

    def __init__(self, sites: Sites, random_: random.Random, keys: list[str]) -> None:
        self.sites = sites
        self.random = random_
        self.keys = keys
        self.whole: dict[str, str | None] = {}

    def write(self) -> None:
        for _ in range(OPERATIONS):
            key = self.random.choice(self.keys)
            known = self.whole.pop(key, "")
            try:
                now = self.operate(key)
            except (OSError, http.client.HTTPException):
                threading.Event().wait(0.05)  # a client's patience: the daemon is being started again
                continue
            if now != "" or known != "":
                self.whole[key] = known if now == "" else now

    def operate(self, key: str) -> str | None:
        """Do one thing; returns the digest of the body then, None for no body, "" if the body stays as it was."""
        path = f"/b/{key}"
        request = self.sites.master.request
        match self.random.randrange(5):
            case 0 | 1:
                body = self.random.randbytes(self.random.choice((0, 10, 70_000, 700_000)))
                assert request("PUT", path, body).status == 201
                return hashlib.sha256(body).hexdigest()
            case 2:
                assert request("PUT", f"{path}/{quote(self.random.choice(NAMES))}", os.urandom(8).hex()).status == 201
            case 3:
                assert request("DELETE", f"{path}/{NAMES[0]}").status in (200, 404)
            case _:
                assert request("DELETE", path).status in (200, 404)
                return None
        return ""


def kill_now_and_then(sites: Sites, random_: random.Random, busy: threading.Event) -> None:
    """Kill either side or both, and start them again, until neither is busy."""
    while busy.is_set():
        victims = random_.choice(([sites.master], [sites.slave], [sites.slave, sites.master]))
        threading.Event().wait(random_.uniform(0.0, 0.3))  # at any moment
        for victim in victims:
            victim.kill()
        for victim in victims:
            victim.start()


@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", seeds())
def test_no_replication_work_is_lost(tmp_path: Path, seed: int) -> None:
    sites = Sites(tmp_path)
    sites.slave.arguments[sites.slave.arguments.index("127.0.0.1:1")] = f"127.0.0.1:{sites.master.port}"
    random_ = random.Random(seed)
    writers = [Writer(sites, random.Random(random_.random()), KEYS[number::2]) for number in range(2)]
    with running(sites.slave), running(sites.master):
        assert sites.master.request("PUT", "/b").status == 201
        assert sites.master.request("PUT", "/b/_default/_policy", "1").status == 201
        for _ in range(ROUNDS):
            busy = threading.Event()
            busy.set()
            threads = [threading.Thread(target=writer.write) for writer in writers]
            killer = threading.Thread(target=kill_now_and_then, args=(sites, random_, busy))
            for thread in (*threads, killer):
                thread.start()
            for thread in threads:
                thread.join()
            busy.clear()
            killer.join()
        eventually(lambda: sites.queued() == 0, "the queue is empty", SETTLE_DEADLINE)
        agree(sites, {key: digest for writer in writers for key, digest in writer.whole.items()})


def agree(sites: Sites, acknowledged: dict[str, str | None]) -> None:
    bodies = sites.files("primary")
    assert sites.files("copies") == bodies
    assert sites.files("slave") == bodies
    assert {key: bodies.get(key) for key in acknowledged} == acknowledged
    for key in KEYS:
        assert sites.attributes(sites.slave, key) == sites.attributes(sites.master, key)
        held = [
            sites.master.request("POST", f"/b/{key}", f"op=check&depot={name}", FORM).status
            for name in ("primary", "copies", "slave")
        ]
        assert held == [200 if key in bodies else 404] * 3
        assert sites.slave.request("GET", f"/b/{key}").status == (200 if key in bodies else 404)
    listed = sites.slave.request("GET", "/b").text
    assert all(f"<key>{key}</key>" in listed for key in bodies)
