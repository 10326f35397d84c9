"""Snapshots of a real stack: what comes back, what goes on meanwhile, and what a killed driver leaves."""

import contextlib
import os
import secrets
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
import tenacity

from support import inflict
from support.enginestack import Stack

pytestmark = pytest.mark.timeout(400)


def s3(stack: Stack) -> Any:
    return stack.s3(attempts=5, read_timeout=60)


def fill(stack: Stack, mark: bytes) -> None:
    client = s3(stack)
    client.create_bucket(Bucket=f"only-{mark.decode()}")
    with contextlib.suppress(client.exceptions.BucketAlreadyOwnedByYou):
        client.create_bucket(Bucket="both")
    client.put_object(Bucket="both", Key="small", Body=mark)
    client.put_object(Bucket="both", Key="large", Body=mark * 300_000)


def content(stack: Stack) -> tuple[set[str], bytes, set[bytes]]:
    client = s3(stack)
    buckets = {bucket["Name"] for bucket in client.list_buckets()["Buckets"]}
    small = client.get_object(Bucket="both", Key="small")["Body"].read()
    large = client.get_object(Bucket="both", Key="large")["Body"].read()
    assert len(large) == 300_000 * len(small)
    return buckets, small, {large[at : at + len(small)] for at in range(0, len(large), len(small))}


FIRST = ({"both", "only-first"}, b"first", {b"first"})


def snapshots(stack: Stack) -> list[str]:
    return [snapshot["name"] for snapshot in stack.run("snapshot", "ls").data]


def test_back_to_what_was_saved(stack: Stack) -> None:
    stack.run("up")
    fill(stack, b"first")
    before = stack.env()
    started = stack.container("chunkd-1").attrs["State"]["StartedAt"]
    saved = stack.run("snapshot", "save", "seed").data
    assert saved["size"] > 1_500_000
    assert stack.container("chunkd-1").attrs["State"] == stack.container("chunkd-1").attrs["State"] | {
        "StartedAt": started,
        "Paused": False,
    }
    fill(stack, b"other")
    stack.run("snapshot", "restore", "seed")
    assert content(stack) == FIRST
    assert stack.env() == before

    stack.run("reset")
    assert s3(stack).list_buckets()["Buckets"] == []
    assert snapshots(stack) == ["seed"]
    stack.run("reset", "--to", "seed")
    assert content(stack) == FIRST
    assert stack.run("up").data["changed"] == []
    stack.run("snapshot", "rm", "seed")
    assert snapshots(stack) == []


def test_from_a_stack_of_which_nothing_works(stack: Stack) -> None:
    stack.run("up")
    fill(stack, b"first")
    stack.run("snapshot", "save", "seed")
    for replica in ("cld-1", "tabled-1"):
        stack.container(replica).remove(force=True)
    stack.client.volumes.get(f"hailbox-{stack.name}-tabled-1").remove()
    stack.container("chunkd-1").pause()
    stack.run("snapshot", "restore", "seed")
    assert content(stack) == FIRST


def kill_when(stack: Stack, prefix: str, *words: str) -> bool:
    """Start a command, kill it with SIGKILL as soon as such an object is there; whether that came to pass."""
    with subprocess.Popen(
        stack.command(*words), cwd=stack.home, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as driver:
        attempts = tenacity.Retrying(
            retry=tenacity.retry_if_result(lambda seen: not seen),
            wait=tenacity.wait_fixed(0.01),
            stop=tenacity.stop_after_delay(30),
        )
        wanted = f"hailbox-{stack.name}-{prefix}"
        attempts(lambda: driver.poll() is not None or any(name.startswith(wanted) for name in stack.labelled()))
        os.kill(driver.pid, signal.SIGKILL)
        driver.wait()
        return driver.returncode == -signal.SIGKILL


@pytest.mark.parametrize("moment", ["snapshot-seed", "save-"])
def test_a_killed_save(stack: Stack, moment: str) -> None:
    stack.run("up")
    fill(stack, b"first")
    s3(stack).put_object(Bucket="both", Key="ballast", Body=secrets.token_bytes(50_000_000))
    assert kill_when(stack, moment, "snapshot", "save", "seed")
    assert snapshots(stack) == []
    assert stack.run("snapshot", "restore", "seed", ok=False).errors[0]["code"] == "unknown-snapshot"
    stack.run("up")
    assert content(stack) == FIRST
    stack.run("snapshot", "save", "seed")
    assert snapshots(stack) == ["seed"]
    fill(stack, b"other")
    stack.run("snapshot", "restore", "seed")
    assert content(stack) == FIRST


def cut_short(stack: Stack) -> None:
    """Let the helper that restores come to its start, and kill it there, as an engine that ends would."""
    label = {"label": [f"org.hailbox.stack={stack.name}", "org.hailbox.helper=restore"]}
    [helper] = stack.client.containers.list(all=True, filters=label)
    helper.start()
    assert b"ready" in next(helper.logs(stream=True, follow=True))
    helper.kill()
    helper.wait()


@pytest.mark.parametrize("twice", [False, True], ids=["driver", "driver and helper"])
def test_a_killed_restore_is_finished_by_up(stack: Stack, twice: bool) -> None:
    stack.run("up")
    fill(stack, b"first")
    s3(stack).put_object(Bucket="both", Key="ballast", Body=secrets.token_bytes(50_000_000))
    stack.run("snapshot", "save", "seed")
    fill(stack, b"other")
    assert kill_when(stack, "restore-", "snapshot", "restore", "seed")
    if twice:
        cut_short(stack)
    stack.run("up")
    assert content(stack) == FIRST
    assert not [name for name in stack.labelled() if "-restore-" in name]


def test_a_file_brings_the_state_to_another_stack(stack: Stack, tmp_path: Path) -> None:
    """With the credentials: without them no client reaches the objects."""
    stack.run("up")
    fill(stack, b"first")
    before = stack.env()
    stack.run("snapshot", "save", "seed")
    file = tmp_path / "seed.tar.zst"
    assert stack.run("snapshot", "export", "seed", str(file)).data["size"] == file.stat().st_size
    assert file.stat().st_mode & 0o777 == 0o600
    assert stack.run("snapshot", "export", "seed", str(file), ok=False).errors[0]["code"] == "snapshot-file"

    other = Stack(f"{stack.name}-b", tmp_path)
    try:
        other.run("up")
        damaged = tmp_path / "damaged"
        damaged.write_bytes(file.read_bytes()[:-5000])
        assert other.run("snapshot", "import", str(damaged), ok=False).errors[0]["code"] == "snapshot-file"
        assert snapshots(other) == []
        other.run("snapshot", "import", str(file), "theirs")
        other.run("snapshot", "restore", "theirs")
        assert content(other) == FIRST
        assert other.env()["AWS_SECRET_ACCESS_KEY"] == before["AWS_SECRET_ACCESS_KEY"]
        assert other.run("up").data["changed"] == []
    finally:
        other.run("destroy", ok=False)
        assert other.labelled() == []
        other.client.close()


def test_a_bit_that_flipped_in_a_snapshot_is_noticed(stack: Stack) -> None:
    stack.run("up")
    fill(stack, b"first")
    stack.run("snapshot", "save", "seed")
    place = inflict.volume(stack, "snapshot-seed")
    large = max((path for path in place.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)
    with large.open("r+b") as stream:
        stream.seek(large.stat().st_size // 2)
        byte = stream.read(1)
        stream.seek(-1, os.SEEK_CUR)
        stream.write(bytes([byte[0] ^ 1]))
    answer = stack.run("snapshot", "restore", "seed", ok=False)
    assert (answer.status, answer.errors[0]["code"]) == (5, "snapshot-damaged")
    assert content(stack) == FIRST
