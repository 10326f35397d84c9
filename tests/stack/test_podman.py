"""Every verb on Podman, with rights, through its Docker-compatible socket; skipped where Podman is not installed."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest

from support import podmanengine
from support.enginestack import Stack
from support.engineverbs import Verbs
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
        verbs = Verbs(stack)
        verbs.exercise("a service of its own beside Docker")
        assert verbs.engine.startswith("Podman ")
    finally:
        stack.run("destroy", ok=False)
    assert stack.labelled() == []
    gone = stack.run("destroy", "--images").data
    assert len(gone["images"]) >= 5
    assert stack.client.images.list(filters={"label": "org.hailbox.image=chunkd"}) == []
    stack.client.close()
