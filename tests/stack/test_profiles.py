"""The profiles that people run iwhd in, and what a change of profile keeps."""

import os
import subprocess
from pathlib import Path

import pytest
import tenacity

from support.enginestack import Stack

eventually = tenacity.retry(
    retry=tenacity.retry_if_exception_type(AssertionError),
    stop=tenacity.stop_after_delay(20),
    wait=tenacity.wait_random_exponential(multiplier=0.1, max=1),
    reraise=True,
)


def ask(*words: str) -> tuple[int, bytes]:
    """Run curl; the status and the body."""
    done = subprocess.run(["curl", "-sS", "-w", "%{stderr}%{http_code}", *words], capture_output=True)
    return int(done.stderr[-3:]), done.stdout


def warehouses(stack: Stack) -> dict[str, str]:
    return {r["replica"]: r["endpoint"] for r in stack.run("status").data["replicas"] if r["service"] == "iwhd"}


@pytest.mark.timeout(300)
def test_failover_to_the_second_site(stack: Stack) -> None:
    """The walk-through of docs/failover.md."""
    body = os.urandom(300_000)
    image = stack.home / "image"
    image.write_bytes(body)
    stack.run("up", "--profile", "failover")
    first, second = warehouses(stack).values()
    assert ask("-X", "PUT", f"{first}/images")[0] == 201
    assert ask("-X", "PUT", "-d", "1", f"{first}/images/_default/_policy")[0] == 201
    assert ask("-T", str(image), f"{first}/images/one")[0] == 201
    assert ask("-X", "PUT", "-d", "x86_64", f"{first}/images/one/arch")[0] == 201
    assert ask("-T", str(image), f"{second}/images/two")[0] == 403

    @eventually
    def replicated() -> None:
        assert ask("-d", "op=rep_status", first) == (200, b"0 requests\n")
        assert ask(f"{second}/images/one/arch") == (200, b"x86_64")

    replicated()
    stack.container("iwhd-1").kill()
    stack.container("tabled-1").kill()
    assert ask(f"{second}/images/one") == (200, body)

    stack.run("up", "--profile", "second-site")
    assert list(warehouses(stack)) == ["iwhd-2"]
    alone = warehouses(stack)["iwhd-2"]
    assert ask(f"{alone}/images/one") == (200, body)
    assert ask("-T", str(image), f"{alone}/images/two")[0] == 201
    found = ask("-d", '$arch == "x86_64"', f"{alone}/images/_query")
    assert found[0] == 200
    assert b"<key>one</key>" in found[1]

    stack.run("up", "--profile", "failover")
    first, second = warehouses(stack).values()
    assert ask(f"{first}/images/one") == (200, body)
    assert ask(f"{second}/images/two") == (200, body)


@pytest.mark.timeout(300)
def test_private_cloud_survives_the_loss_of_two_nodes(stack: Stack) -> None:
    body = os.urandom(300_000)
    image = stack.home / "image"
    image.write_bytes(body)
    stack.run("up", "--profile", "private-cloud")
    first, second = warehouses(stack).values()
    assert ask("-X", "PUT", f"{first}/images")[0] == 201
    assert ask("-T", str(image), f"{first}/images/one")[0] == 201
    assert ask(f"{second}/images/one") == (200, body)
    stack.container("chunkd-1").kill()
    stack.container("chunkd-2").kill()
    assert ask(f"{first}/images/one") == (200, body)
    answer = stack.run("up")
    assert sorted(answer.data["changed"]) == ["chunkd-1", "chunkd-2"]
    stack.container("chunkd-3").kill()

    @eventually  # both serve when `up` returns, but tabled may yet be about to find them again
    def whole() -> None:
        assert ask(f"{first}/images/one") == (200, body)

    whole()


@pytest.mark.timeout(300)
def test_own_profile_from_a_file_that_is_gone_later(stack: Stack) -> None:
    path = Path(stack.home / "mine.yaml")
    path.write_text("summary: two warehouses\nservices:\n  iwhd: [{configuration: fs}, {configuration: fs}]\n")
    stack.run("up", "--profile", str(path))
    path.unlink()
    assert sorted(warehouses(stack)) == ["iwhd-1", "iwhd-2"]
    assert stack.run("up").data["changed"] == []
    stack.run("down")
    assert stack.run("up").data["profile"] == "mine"
