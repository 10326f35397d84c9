"""Saving and restoring 1 GB of objects, against a plain `cp -a` of the same volumes, in one run.

The peer is `cp -a` of the data volumes' directories to another one of the same file system, by root on the engine's
host. Restoring includes that every service is brought up and probed; `reset` is there to compare with.
"""

from __future__ import annotations

import json
import secrets
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import boto3
import docker

STACK = "bench-snapshot"
OBJECTS, OBJECT_SIZE = 16, 64_000_000
ROUNDS = 3
REPLICAS = ("cld-1", "chunkd-1", "tabled-1", "iwhd-1")


def hailbox(*words: str) -> str:
    """Run the program from the root directory; its output, and with --json a record of its progress."""
    command = [sys.executable, "-m", "hailbox", "--stack", STACK, *words]
    done = subprocess.run(command, cwd="/", capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"hailbox {' '.join(words)}: {done.stdout}{done.stderr}")
    return done.stdout + done.stderr


def timed(work: Callable[[], object]) -> float:
    """Seconds that it takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def fill() -> None:
    """Store 1 GB through the S3 interface."""
    env = json.loads(hailbox("env", "--json"))["data"]
    client = boto3.client(
        "s3",
        endpoint_url=env["AWS_ENDPOINT_URL"],
        aws_access_key_id=env["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=env["AWS_SECRET_ACCESS_KEY"],
        region_name=env["AWS_DEFAULT_REGION"],
    )
    client.create_bucket(Bucket="filled")
    body = secrets.token_bytes(OBJECT_SIZE)
    for number in range(OBJECTS):
        client.put_object(Bucket="filled", Key=f"object-{number}", Body=body)


def volumes() -> list[Path]:
    """Where the data volumes are on this host."""
    engine = docker.from_env()
    return [Path(engine.volumes.get(f"hailbox-{STACK}-{replica}").attrs["Mountpoint"]) for replica in REPLICAS]


def copy(sources: list[Path]) -> float:
    """Seconds of `cp -a` of all volumes to a new directory beside them."""
    target = sources[0].parent.parent / "hailbox-bench-copy"
    target.mkdir()
    try:
        return timed(lambda: subprocess.run(["cp", "-a", *(str(s.parent) for s in sources), str(target)], check=True))
    finally:
        shutil.rmtree(target)


def settle() -> None:
    """Flush all writes, so that no measurement pays for earlier ones."""
    subprocess.run(["sync"], check=True)


def main() -> None:
    """Print seconds by round, and the ratios of the medians."""
    subprocess.run([sys.executable, "-m", "hailbox", "--stack", STACK, "destroy", "-q"], cwd="/", capture_output=True)
    hailbox("up")
    try:
        fill()
        sources = volumes()
        taken: dict[str, list[float]] = {"cp -a": [], "save": [], "restore": [], "reset": []}
        for _ in range(ROUNDS):
            settle()
            taken["cp -a"].append(copy(sources))
            settle()
            taken["save"].append(timed(lambda: hailbox("snapshot", "save", "seed")))
            settle()
            taken["restore"].append(timed(lambda: hailbox("snapshot", "restore", "seed")))
            settle()
            hailbox("snapshot", "rm", "seed")
        taken["reset"].append(timed(lambda: hailbox("reset")))
    finally:
        hailbox("destroy")
    plain = statistics.median(taken["cp -a"])
    for name, seconds in taken.items():
        middle = statistics.median(seconds)
        print(f"{name:<8} {middle:6.2f} s   of {', '.join(f'{one:.2f}' for one in seconds)}")
        if name in ("save", "restore"):
            allowed = 1.5 * plain + 2
            print(f"         {middle / allowed:6.2f} of what is allowed: 1.5 x cp -a + 2 s = {allowed:.2f} s")


if __name__ == "__main__":
    main()
