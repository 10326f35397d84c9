"""A clean stack for each test: a quick reset of a stack in which a test left 100 objects, beside a real reset.

A tenth of the objects is of 100 kB, the rest of 1 kB. The quick reset is that of the pytest plugin: a program that
stays (`hailbox reset --repeat`). Times are from the request to the answer that all services work.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import boto3

from hailbox.testing.stack import RunningStack

STACK = "bench-clean"
OBJECTS = 100
ROUNDS = 15
REAL_ROUNDS = 3


def fill(stack: RunningStack) -> None:
    """Store what a test leaves."""
    env = stack.env()
    client = boto3.client(
        "s3",
        endpoint_url=env["AWS_ENDPOINT_URL"],
        aws_access_key_id=env["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=env["AWS_SECRET_ACCESS_KEY"],
        region_name=env["AWS_DEFAULT_REGION"],
    )
    assert client.list_buckets()["Buckets"] == [], "it was not clean"
    client.create_bucket(Bucket="left-by-a-test")
    for number in range(OBJECTS):
        client.put_object(Bucket="left-by-a-test", Key=f"{number}", Body=b"x" * (1_000 if number % 10 else 100_000))


def measure(stack: RunningStack, clean: Callable[[], None], rounds: int) -> list[float]:
    """Seconds of each round."""
    found = []
    for _ in range(rounds):
        fill(stack)
        started = time.monotonic()
        clean()
        found.append(time.monotonic() - started)
    return found


def main() -> None:
    """Measure and print the table."""
    with tempfile.TemporaryDirectory() as folder:
        stack = RunningStack(STACK, Path(folder))
        try:
            stack.up("--profile", "s3")
            stack.clean()
            quick = measure(stack, stack.clean, ROUNDS)
            real = measure(stack, stack.reset, REAL_ROUNDS)
        finally:
            stack.destroy()
    sys.stdout.write(f"{'':<44}{'median':>8}{'min':>8}{'max':>8}   unit\n")
    for name, times in ((f"quick reset, {OBJECTS} objects", quick), (f"reset, {OBJECTS} objects", real)):
        values = "".join(f"{value * 1000:>8.0f}" for value in (statistics.median(times), min(times), max(times)))
        sys.stdout.write(f"  {name:<42}{values}   ms\n")


if __name__ == "__main__":
    main()
