"""The profiles that people run iwhd in, and what a change of profile keeps."""

import os
import subprocess
from pathlib import Path

import pytest
import tenacity

from support.enginestack import Answer, Stack

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


def warehouses(up: Answer) -> dict[str, str]:
    """The addresses of the warehouses that an `up` named."""
    return {r["replica"]: r["endpoint"] for r in up.data["replicas"] if r["service"] == "iwhd"}


@pytest.mark.timeout(300)
def test_private_cloud_survives_the_loss_of_two_nodes(stack: Stack) -> None:
    body = os.urandom(300_000)
    image = stack.home / "image"
    image.write_bytes(body)
    first, second = warehouses(stack.run("up", "--profile", "private-cloud")).values()
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
    assert sorted(warehouses(stack.run("up", "--profile", str(path)))) == ["iwhd-1", "iwhd-2"]
    path.unlink()
    assert stack.run("up").data["changed"] == []
    stack.run("down")
    assert stack.run("up").data["profile"] == "mine"


@pytest.mark.timeout(600)
def test_other_profiles_keep_the_data_of_services_that_stay(stack: Stack) -> None:
    """From one profile to the next on a running stack, and back; with five chunkd wherever there are any."""
    body = os.urandom(300_000)
    image = stack.home / "image"
    image.write_bytes(body)

    def first(*words: str) -> str:
        """Bring a profile up, with five chunkd if it has any; the address of the first warehouse."""
        answer = stack.run("up", "--profile", *words)
        assert [r["service"] for r in answer.data["replicas"]].count("chunkd") == (5 if words[1:] else 0)
        return warehouses(answer)["iwhd-1"]

    @eventually  # a service that has just been moved may be about to find the others
    def kept(warehouse: str) -> None:
        assert ask(f"{warehouse}/images/one") == (200, body)
        assert ask(f"{warehouse}/images/one/arch") == (200, b"x86_64")

    five = ("--scale", "chunkd=5")
    warehouse = first("s3", *five)
    assert ask("-X", "PUT", f"{warehouse}/images")[0] == 201
    assert ask("-T", str(image), f"{warehouse}/images/one")[0] == 201
    assert ask("-X", "PUT", "-d", "x86_64", f"{warehouse}/images/one/arch")[0] == 201
    kept(first("private-cloud", *five))
    kept(first("failover", *five))
    # A profile without chunkd has none to scale: that is said, and nothing is changed.
    refused = stack.run("up", "--profile", "fs", *five, ok=False)
    assert (refused.status, refused.errors[0]["code"]) == (2, "unknown-service")
    # The warehouse on a directory knows names and attributes, but S3 has the bodies; nothing of that is lost.
    warehouse = first("fs")
    assert ask(f"{warehouse}/images/one/arch") == (200, b"x86_64")
    assert ask(f"{warehouse}/images/one")[0] == 404
    assert ask("-d", "op=check&depot=primary", f"{warehouse}/images/one")[0] == 200
    kept(first("s3", *five))
