"""Daemons on the host that take part in a stack by what `hailbox config SERVICE` says."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests
import tenacity

from support.enginestack import Stack
from support.ports import free_port

pytestmark = pytest.mark.timeout(120)


@contextmanager
def running(stack: Stack, service: str, directory: Path, *, port: tuple[str, int] | None = None) -> Iterator[None]:
    """That daemon on the host; `port`: the one in its command line or file, and the one that it gets."""
    said = stack.run("config", service, "--write", str(directory)).data
    command = [sys.executable, *said["command"][1:]]
    if port is not None:
        before, number = port
        command = [str(number) if word == before else word for word in command]
    with subprocess.Popen(command, stderr=(directory / "log").open("wb")) as daemon:
        try:
            yield
        finally:
            daemon.terminate()


def test_an_iwhd_on_the_host_in_place_of_the_stack_s(stack: Stack, tmp_path: Path) -> None:
    stack.run("up", "--without", "iwhd")
    assert not [name for name in stack.containers() if "iwhd" in name]
    number = free_port()
    with running(stack, "iwhd", tmp_path / "iwhd", port=("9090", number)):
        bucket = f"http://127.0.0.1:{number}/images"
        attempts = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(requests.RequestException),
            wait=tenacity.wait_random_exponential(multiplier=0.05, max=0.3),
            stop=tenacity.stop_after_delay(30),
            reraise=True,
        )
        attempts(lambda: requests.put(bucket, timeout=10).raise_for_status())
        requests.put(f"{bucket}/one", data=b"x" * 100_000, timeout=10).raise_for_status()
        assert requests.get(f"{bucket}/one", timeout=10).content == b"x" * 100_000
    bodies = stack.s3().list_objects_v2(Bucket="images")["Contents"]
    assert [entry["Size"] for entry in bodies] == [100_000]
    stack.run("up", "--without", "none")
    assert requests.get(stack.env()["IWHD_URL"], timeout=10).ok
