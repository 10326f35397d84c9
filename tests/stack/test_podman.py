"""Every verb on Podman, with rights, through its Docker-compatible socket; skipped where Podman is not installed."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest

from support import podmanengine
from support.acknowledged import Acknowledged
from support.enginestack import Stack
from support.nestedimage import BASE

pytestmark = [
    pytest.mark.timeout(400),
    pytest.mark.skipif(podmanengine.why_not() is not None, reason=podmanengine.why_not() or ""),
]


@pytest.fixture
def podman(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A Podman that has the base image, chosen by DOCKER_HOST."""
    subprocess.run([sys.executable, "-m", "hailbox", "--quiet", "build"], cwd=tmp_path, check=True)
    with podmanengine.started() as address:
        with (
            contextlib.closing(docker.from_env()) as outer,
            contextlib.closing(docker.DockerClient(address)) as inner,
        ):
            inner.images.load(b"".join(outer.images.get(BASE).save(named=True)))
        monkeypatch.setenv("DOCKER_HOST", address)
        yield address


def test_verbs_on_podman(podman: str, tmp_path: Path) -> None:
    stack = Stack("test-podman", tmp_path)
    try:
        exercise(stack)
    finally:
        stack.run("destroy", ok=False)
    assert stack.labelled() == []
    gone = stack.run("destroy", "--images").data
    assert len(gone["images"]) >= 5
    assert stack.client.images.list(filters={"label": "org.hailbox.image=chunkd"}) == []
    stack.client.close()


def exercise(stack: Stack) -> None:
    stack.run("up")
    assert stack.run("up").data["changed"] == []
    checks = {check["name"]: check["detail"] for check in stack.run("doctor", ok=False).data["checks"]}
    assert checks["engine"].startswith("Podman ")
    objects = Acknowledged()
    objects.put(stack.s3())

    stack.run("snapshot", "save", "seeded")
    stack.run("fault", "pause", "chunkd-1")
    assert stack.run("status", ok=False).status == 5
    assert stack.run("up").data["ended_faults"] == ["pause-chunkd-1"]
    stack.container("tabled-1").kill()
    stack.run("up")
    stack.run("down")
    stack.run("up")
    objects.expect_all(stack)

    stack.run("reset")
    assert len(objects.missing(stack)) == len(objects.bodies)
    stack.run("reset", "--to", "seeded")
    objects.expect_all(stack)

    command = stack.command("exec", "tabled-1", "echo", "heard")
    assert subprocess.run(command, env=stack.environment(), check=True, capture_output=True).stdout == b"heard\n"
    follow_a_restart(stack)


def follow_a_restart(stack: Stack) -> None:
    with subprocess.Popen(
        stack.command("logs", "--follow", "-n", "0", "cld"),
        env=stack.environment(),
        stdout=subprocess.PIPE,
        text=True,
    ) as follower:
        assert follower.stdout is not None
        time.sleep(1)  # the follower tells nothing of when it has begun
        stack.container("cld-1").restart()
        assert any("serving on port" in line for line in follower.stdout)
        follower.terminate()
