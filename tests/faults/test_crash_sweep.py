"""Invariant 1 on the real engine: a driver killed with SIGKILL at any request, and the next command converges.

`make test` runs a sample of the moments, `make test-full` (HAILBOX_FULL=1) every one.
"""

import os
import secrets
import subprocess
import sys
from pathlib import Path

import pytest

from support.enginestack import Stack

DRIVER = Path(__file__).with_name("crashing_driver.py")
FULL = bool(os.environ.get("HAILBOX_FULL"))
SAMPLE = 3


def crash(stack: Stack, at: int, *command: str) -> tuple[bool, str]:
    """Run a command that dies at that moment; whether it did, and what it printed last."""
    done = subprocess.run(
        [sys.executable, str(DRIVER), stack.name, str(at), *command], capture_output=True, text=True
    )
    last = done.stdout.splitlines()[-1] if done.stdout else done.stderr
    assert done.returncode in (0, -9), done.stderr
    return done.returncode == -9, last


def moments_of(stack: Stack, *command: str) -> int:
    died, count = crash(stack, 0, *command)
    assert not died
    return int(count)


def chosen(count: int) -> list[int]:
    """All moments, or some that are spread over the command and differ from run to run."""
    if FULL:
        return list(range(1, count + 1))
    width = count / SAMPLE
    return sorted({1 + int(width * (part + secrets.randbelow(1000) / 1000)) for part in range(SAMPLE)})


def keep(stack: Stack) -> None:
    client = stack.s3()
    client.create_bucket(Bucket="kept")
    client.put_object(Bucket="kept", Key="object", Body=b"acknowledged")


def assert_kept(stack: Stack) -> None:
    assert stack.s3().get_object(Bucket="kept", Key="object")["Body"].read() == b"acknowledged"


@pytest.mark.timeout(1500)
def test_up_from_nothing(stack: Stack) -> None:
    count = moments_of(stack, "up")
    for at in chosen(count):
        stack.run("destroy")
        died, moment = crash(stack, at, "up")
        answer = stack.run("up", ok=False)
        assert answer.status == 0, f"died {moment} ({at} of {count}, {died}): {answer.errors}"


@pytest.mark.timeout(1500)
def test_up_after_down_loses_nothing(stack: Stack) -> None:
    stack.run("up")
    keep(stack)
    stack.run("down")
    count = moments_of(stack, "up")
    for at in chosen(count):
        stack.run("down")
        died, moment = crash(stack, at, "up")
        answer = stack.run("up", ok=False)
        assert answer.status == 0, f"died {moment} ({at} of {count}, {died}): {answer.errors}"
        assert_kept(stack)


@pytest.mark.timeout(1500)
def test_down_loses_nothing(stack: Stack) -> None:
    stack.run("up")
    keep(stack)
    count = moments_of(stack, "down")
    for at in chosen(count):
        stack.run("up")
        died, moment = crash(stack, at, "down")
        answer = stack.run("up", ok=False)
        assert answer.status == 0, f"died {moment} ({at} of {count}, {died}): {answer.errors}"
        assert_kept(stack)


@pytest.mark.timeout(1500)
def test_reset(stack: Stack) -> None:
    stack.run("up")
    count = moments_of(stack, "reset")
    for at in chosen(count):
        keep(stack)
        died, moment = crash(stack, at, "reset")
        answer = stack.run("reset", ok=False)
        assert answer.status == 0, f"died {moment} ({at} of {count}, {died}): {answer.errors}"
        assert stack.s3().list_buckets()["Buckets"] == []


@pytest.mark.timeout(1500)
def test_destroy(stack: Stack) -> None:
    stack.run("up", "--profile", "fs")
    count = moments_of(stack, "destroy")
    for at in chosen(count):
        stack.run("up", "--profile", "fs")
        crash(stack, at, "destroy")
        if stack.labelled():
            stack.run("destroy")
        assert stack.labelled() == []
