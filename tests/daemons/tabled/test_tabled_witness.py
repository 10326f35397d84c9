"""A part of the metadata that is gone is noticed: tabled never starts empty, or older than it was."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from support.tabledstack import DEADLINE, Process, Stack, serving, wait_for

DAMAGED = 65


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    with serving(tmp_path) as stack:
        yield stack


@pytest.fixture
def directory(stack: Stack) -> Path:
    return stack.directory / "tdb"


def start(stack: Stack) -> None:
    stack.tabled.start()
    stack.wait_serving()
    stack.wait_nodes()


def put(stack: Stack, key: str) -> None:
    s3: Any = stack.client()
    s3.create_bucket(Bucket="bucket")

    def stored() -> bool:
        try:
            s3.put_object(Bucket="bucket", Key=key, Body=b"x")
        except ClientError as error:
            # Right after its start a node may still be lost once: the answer asks clients to retry.
            if error.response["Error"]["Code"] != "ServiceUnavailable":
                raise
            return False
        return True

    wait_for(stored, "the object is stored")


def keys(stack: Stack) -> list[str]:
    s3: Any = stack.client()
    return [entry["Key"] for entry in s3.list_objects_v2(Bucket="bucket").get("Contents", ())]


def tdbadm(stack: Stack, mode: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "haild.tabled.tdbadm", "-C", str(stack.directory / "one.conf"), mode]
    return subprocess.run(command, capture_output=True, text=True)


def ends_damaged(tabled: Process, told: str) -> None:
    tabled.start()
    assert tabled.process is not None
    try:
        assert tabled.process.wait(DEADLINE) == DAMAGED
    finally:
        tabled.kill()
    assert told in tabled.log.read_text()


def test_without_its_log_after_a_kill(stack: Stack, directory: Path, tmp_path: Path) -> None:
    put(stack, "k")
    stack.tabled.kill()
    kept = shutil.move(directory / "passwd-wal", tmp_path / "kept")
    ends_damaged(stack.tabled, "passwd-wal is missing")
    administrator = tdbadm(stack, "-B")
    assert administrator.returncode == 1
    assert "passwd-wal is missing" in administrator.stderr
    # The advice, followed: put it back.
    shutil.move(kept, directory / "passwd-wal")
    start(stack)
    assert keys(stack) == ["k"]


def test_going_on_with_what_is_there(stack: Stack, directory: Path) -> None:
    put(stack, "k")
    stack.tabled.kill()
    (directory / "passwd-wal").unlink()
    ends_damaged(stack.tabled, f"remove {directory / 'witness'}")
    (directory / "witness").unlink()
    start(stack)
    stack.client().list_buckets()


def test_without_its_database(stack: Stack, directory: Path) -> None:
    put(stack, "k")
    assert stack.tabled.stop() == 0
    (directory / "passwd").unlink()
    ends_damaged(stack.tabled, "passwd is missing")


def test_with_an_older_or_another_database(stack: Stack, directory: Path, tmp_path: Path) -> None:
    assert stack.tabled.stop() == 0
    shutil.copy(directory / "passwd", tmp_path / "older")
    start(stack)
    put(stack, "k")
    assert stack.tabled.stop() == 0
    shutil.copy(tmp_path / "older", directory / "passwd")
    ends_damaged(stack.tabled, "is older than the one that was here")
    (directory / "passwd").unlink()
    shutil.move(directory / "witness", tmp_path / "witness")
    start(stack)
    put(stack, "k")
    assert stack.tabled.stop() == 0
    shutil.move(tmp_path / "witness", directory / "witness")
    ends_damaged(stack.tabled, "is not the database that was here")


def test_what_is_in_order_is_not_called_damaged(stack: Stack, directory: Path) -> None:
    put(stack, "k")
    for _ in range(3):
        stack.tabled.kill()
        start(stack)
        assert keys(stack) == ["k"]
    stack.tabled.kill()
    # The last process to open the database writes the log back.
    for mode in ("-B", "-U"):
        assert tdbadm(stack, mode).returncode == 0
    assert not (directory / "passwd-wal").exists()
    start(stack)
    assert keys(stack) == ["k"]
    assert stack.tabled.stop() == 0
    assert not (directory / "passwd-wal").exists()
    start(stack)
    assert keys(stack) == ["k"]
