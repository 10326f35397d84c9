"""What `status --why` advises on a real engine: each fault is brought about, the advice is run, and it must help.

`make test` follows a sample; with HAILBOX_FULL all. `tests/driver/test_advice.py` has every error on the engine in
memory.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import tenacity

from support import advice, inflict
from support.acknowledged import Acknowledged
from support.enginestack import Stack
from support.faulttable import FULL

pytestmark = pytest.mark.timeout(600)


def update(stack: Stack, replica: str) -> None:
    """`docker update`, of what a container may use and of when it is started again."""
    stack.container(replica).update(mem_limit="128m", memswap_limit="256m", restart_policy={"Name": "no"})


def lose_rules(stack: Stack, replica: str) -> None:
    """The packet filter lets nothing more through between the containers of this stack; a daemon has to connect."""
    bridge = f"br-{stack.client.networks.get(f'hailbox-{stack.name}').id[:12]}"
    inflict.as_engine("iptables", "-D", "FORWARD", "-i", bridge, "-o", bridge, "-j", "ACCEPT")
    stack.container(replica).restart(timeout=1)


def lose_port(stack: Stack, replica: str) -> None:
    """The engine's process that carries the replica's port is killed."""
    port = str(stack.container(replica).ports["9090/tcp"][0]["HostPort"])
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_text().split("\0")
        except OSError:
            continue
        if words[0].endswith("docker-proxy") and port in words:
            os.kill(int(folder.name), signal.SIGKILL)
            return
    raise AssertionError(f"no docker-proxy for port {port}")


def give_away(stack: Stack, replica: str) -> None:
    """Another user has the data."""
    inflict.as_engine("chown", "-R", "0:0", inflict.volume(stack, replica))
    inflict.as_engine("chmod", "-R", "go-rwx", inflict.volume(stack, replica))
    inflict.crash(stack, replica)


def trouble(stack: Stack, code: str) -> dict[str, str]:
    """What `status --why` says once it says this: a daemon takes a moment to end, and the engine to tell of it."""
    attempts = tenacity.Retrying(
        retry=tenacity.retry_if_result(lambda found: [error["code"] for error in found[:1]] != [code]),
        wait=tenacity.wait_fixed(0.2),
        stop=tenacity.stop_after_delay(30),
        retry_error_callback=lambda state: state.outcome.result() if state.outcome else [],
    )
    found: list[dict[str, str]] = attempts(lambda: stack.run("status", "--why", ok=False).errors)
    assert [error["code"] for error in found[:1]] == [code]
    return found[0]


@dataclass(frozen=True)
class Row:
    """A fault, and the code of its advice."""

    code: str
    replica: str
    inflict: Callable[[Stack, str], None]
    sample: bool = False
    destroys: bool = False


ROWS = [
    Row("limits-changed", "chunkd-1", update, sample=True),
    Row("network-blocked", "tabled-1", lose_rules, sample=True),
    Row("port-lost", "iwhd-1", lose_port),
    Row("wrong-owner", "chunkd-1", give_away),
    Row("unresponsive", "tabled-1", inflict.freeze),
    Row("container-paused", "cld-1", lambda stack, replica: stack.container(replica).pause()),
    Row("container-stopped", "iwhd-1", lambda stack, replica: stack.container(replica).stop(timeout=1)),
    Row("container-gone", "iwhd-1", inflict.remove_container),
    Row("network-gone", "chunkd-1", inflict.remove_network),
    Row("credentials-gone", "all", inflict.lose_credentials, destroys=True),
    Row("data-damaged", "chunkd-1", inflict.corrupt_metadata, destroys=True),
    Row("volume-gone", "tabled-1", inflict.remove_volume, destroys=True),
]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """One stack for all rows: each leaves it working."""
    made = Stack(f"test-advice-{os.getpid()}", Path(tmp_path_factory.mktemp("advice")))
    yield made
    if made.labelled():
        made.run("destroy")
    assert made.labelled() == []


@pytest.mark.parametrize("row", [row for row in ROWS if FULL or row.sample], ids=lambda row: row.code)
def test_what_is_advised_helps(shared: Stack, row: Row) -> None:
    shared.run("up")
    objects = Acknowledged()
    objects.put(shared.s3())
    row.inflict(shared, row.replica)

    error = trouble(shared, row.code)
    assert ("reset" in error["remedy"]) == (row.code == "data-damaged")
    for program, *words in advice.commands(error["remedy"]):
        assert program == "hailbox"
        shared.run(*words[2:] if words[0] == "--stack" else words)

    assert shared.run("status", "--why").errors == []
    if row.destroys:
        shared.run("reset")  # buckets of keys that are gone are in the way of the next row
    else:
        assert objects.missing(shared) == []
