"""Images that are built once, pushed to a registry and pulled elsewhere; and a base image from a registry."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest

from hailbox.engine.docker import DockerEngine
from hailbox.images import base
from support import registryserver
from support.enginestack import Stack
from support.nestedengine import NestedEngine
from support.registryserver import HOST

pytestmark = [pytest.mark.timeout(300), pytest.mark.second_engine]


@pytest.fixture
def registry(nested: NestedEngine) -> Iterator[docker.DockerClient]:
    """A registry beside the nested engine, by which commands find that engine; a client of the engine."""
    if not nested.answers():
        nested.start()
    with registryserver.on(nested), nested.entered():
        client = docker.from_env()
        yield client
        client.close()


def test_built_once_and_pulled_elsewhere(registry: docker.DockerClient, tmp_path: Path) -> None:
    stack = Stack("test-registry", tmp_path, registry)
    prefix = f"{HOST}/team/hailbox"
    try:
        built = stack.run("build", "--push", prefix).data
        references = sorted(set(built["images"].values()))
        assert len(built["pushed"]) == len(references)
        assert not [image for image in registry.images.list() for tag in image.tags if tag.startswith(HOST)]
        for reference in references:
            registry.images.remove(reference)  # another engine, as far as images go

        done = subprocess.run(
            stack.command("up", "--images-from", prefix, "--progress", "json"),
            env=stack.environment(),
            cwd=tmp_path,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        phases = {event["phase"] for event in map(json.loads, done.stderr.splitlines())}
        assert "pulling" in phases
        assert "building" not in phases
        assert all(registry.images.get(reference) for reference in references)
        assert stack.run("up").data["changed"] == []
    finally:
        if stack.labelled():
            stack.run("destroy")
        subprocess.run([*stack.command("build")], cwd=tmp_path, env=stack.environment(), check=True)
    assert stack.labelled() == []


def test_a_push_that_is_refused(registry: docker.DockerClient, tmp_path: Path) -> None:
    refused = Stack("test-registry", tmp_path, registry).run("build", "--push", "127.0.0.1:1/nobody", ok=False)
    assert (refused.status, refused.errors[0]["code"]) == (4, "image-failed")
    assert "docker login 127.0.0.1:1" in refused.errors[0]["remedy"]
    assert not [image for image in registry.images.list() for tag in image.tags if "nobody" in tag]


@pytest.mark.parametrize(("path", "with_index"), [("library/", True), ("", False)])
def test_the_base_image_from_a_mirror(
    registry: docker.DockerClient, monkeypatch: pytest.MonkeyPatch, path: str, with_index: bool
) -> None:
    """A mirror of Docker Hub may hold an official image under `library`, or right below its own name."""
    monkeypatch.setenv("HAILBOX_REGISTRY", HOST)
    engine = DockerEngine()
    ours = registry.images.get(base.BASE)
    repository, tag = f"{path}{base.PULLED}".rsplit(":", 1)
    ours.tag(f"{HOST}/{repository}", tag)
    for said in registry.images.push(f"{HOST}/{repository}", tag, stream=True, decode=True):
        assert "error" not in said, said
    if with_index:
        registryserver.make_index(repository, tag, engine.version().architecture)
    registry.images.remove(f"{HOST}/{repository}:{tag}")
    registry.images.remove(base.BASE, force=True)
    told: list[str] = []
    try:
        assert base.ensure(engine, None, lambda event: told.append(event.phase)) == base.PYTHON
        assert told[0] == "pulling"
        assert "bootstrapping" not in told
    finally:
        ours.tag(*base.BASE.split(":"))
        for name in [name for image in registry.images.list() for name in image.tags if name.startswith(HOST)]:
            registry.images.remove(name)


def test_a_name_that_is_no_prefix() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "hailbox", "--json", "build", "--push", "http://registry.example/x"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert "no prefix of images" in json.loads(done.stdout)["errors"][0]["problem"]
