"""What is built for a plan, in which order, and what is not; against an engine that only keeps a list of images."""

from __future__ import annotations

import io
import tarfile
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import cast

import pytest

from hailbox.engine.port import Container, Engine, EngineMode, EngineVersion, Image
from hailbox.images import base, build, wheels
from hailbox.images.progress import ImageProgress, Phase
from hailbox.model import names
from hailbox.model.errors import BaseImageError, DiskFullError, EngineFailedError, ImageError

ALL = ("cld", "chunkd", "tabled", "iwhd", "credentials")


class ListingEngine:
    """The part of `Engine` that images need; `python` is what an image runs as python3, if it does."""

    def __init__(self, *present: str, registry: tuple[str, ...] = (), python: str = "3 13 glibc") -> None:
        self.present: dict[str, Mapping[str, str]] = {reference: {} for reference in present}
        self.registry = registry
        self.python = python
        self.built: list[str] = []
        self.contexts: dict[str, bytes] = {}
        self.imported: list[str] = []
        self.failing: dict[str, Exception] = {}
        self._lock = threading.Lock()

    def version(self) -> EngineVersion:
        return EngineVersion("20.10.24", "1.41", "linux", "amd64")

    def image(self, reference: str) -> Image | None:
        if reference not in self.present:
            return None
        return Image(reference, (reference,), self.present[reference])

    def mode(self) -> EngineMode:
        return EngineMode(storage="overlay2")

    def images(self, labels: Mapping[str, str | None], *, hidden: bool = False) -> list[Image]:
        return [Image(tag, (tag,), own) for tag, own in self.present.items() if labels.keys() <= own.keys()]

    def pull_image(self, reference: str) -> None:
        if reference not in self.registry:
            raise EngineFailedError(f"cannot pull {reference}", "check the network")
        self.present[reference] = {}

    def import_image(self, archive: Path, reference: str, *, labels: Mapping[str, str]) -> None:
        assert archive.read_bytes()
        self.imported.append(reference)
        self.present[reference] = dict(labels)

    def containers(self, labels: Mapping[str, str | None]) -> list[Container]:
        return []

    def remove_image(self, reference: str) -> None:
        self.present.pop(reference, None)

    def build_image(self, context: bytes, reference: str, *, labels: Mapping[str, str]) -> Iterator[str]:
        with tarfile.open(fileobj=io.BytesIO(context)) as tar:
            content = tar.extractfile("Dockerfile")
            assert content is not None
            dockerfile = content.read().decode()
        source = next(line for line in dockerfile.splitlines() if line.startswith("ARG ")).partition("=")[2]
        with self._lock:
            assert source in self.present, f"{reference} is built on {source}, which is not there yet"
            self.built.append(reference)
            self.contexts[reference] = context
        yield f"Step 1 : FROM {source}"
        if failure := self.failing.get(reference):
            raise failure
        if reference.startswith("hailbox/base:"):
            if not self.python:
                raise ImageError("python3: not found", "mend it")
            yield f"base: {self.python}"
        self.present[reference] = dict(labels)


def ensure(engine: ListingEngine, plan: build.ImagePlan) -> tuple[dict[str, str], list[ImageProgress]]:
    told: list[ImageProgress] = []
    return build.ensure(cast(Engine, engine), plan, progress=told.append), told


@pytest.fixture(autouse=True)
def _without_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty cache, wheels that are there already, and no tool that could bootstrap."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.delenv("HAILBOX_BASE", raising=False)
    (tmp_path / "bin").mkdir()
    (tmp_path / "wheels" / "aiohttp").mkdir(parents=True)
    (tmp_path / "wheels" / "aiohttp" / "__init__.py").write_text("")
    monkeypatch.setattr(wheels, "ensure", lambda lock, python, architecture: tmp_path / "wheels")


def base_present() -> ListingEngine:
    engine = ListingEngine()
    engine.present[base.BASE] = base.labels("base") | {base.PYTHON_LABEL: "3.13"}
    return engine


def test_everything_missing_is_built_the_runtime_first() -> None:
    engine, plan = base_present(), build.plan(ALL)
    references, told = ensure(engine, plan)
    assert references == plan.services
    assert engine.built[0] == plan.runtime
    assert sorted(engine.built) == sorted({plan.runtime, *plan.services.values()})
    ready = [event.image for event in told if event.phase is Phase.READY]
    assert sorted(ready) == ["chunkd", "cld", "iwhd", "runtime", "tabled", "wheels"]
    for reference in engine.built:
        labels = engine.present[reference]
        assert labels["org.hailbox.image"] == reference.split("/")[1].split(":")[0]
        assert labels["org.hailbox.version"]


def test_the_wheels_are_in_the_runtime_only() -> None:
    engine, plan = base_present(), build.plan(ALL)
    ensure(engine, plan)
    for reference, context in engine.contexts.items():
        with tarfile.open(fileobj=io.BytesIO(context)) as tar:
            assert ("lib/aiohttp/__init__.py" in tar.getnames()) is (reference == plan.runtime)


def test_a_second_time_nothing_is_built_or_told() -> None:
    engine, plan = base_present(), build.plan(ALL)
    ensure(engine, plan)
    engine.built.clear()
    assert ensure(engine, plan) == (dict(plan.services), [])
    assert engine.built == []


def test_one_missing_image_is_built_alone() -> None:
    engine, plan = base_present(), build.plan(ALL)
    ensure(engine, plan)
    engine.built.clear()
    engine.remove_image(plan.services["tabled"])
    ensure(engine, plan)
    assert engine.built == [plan.services["tabled"]]


def test_one_failure_lets_the_others_finish_and_is_raised() -> None:
    engine, plan = base_present(), build.plan(ALL)
    engine.failing[plan.services["chunkd"]] = DiskFullError("the engine's disk is full", "free some space")
    with pytest.raises(DiskFullError):
        ensure(engine, plan)
    assert set(plan.services.values()) - engine.present.keys() == {plan.services["chunkd"]}
    engine.failing.clear()
    engine.built.clear()
    ensure(engine, plan)
    assert engine.built == [plan.services["chunkd"]]


def test_a_failed_runtime_builds_nothing_on_it() -> None:
    engine, plan = base_present(), build.plan(ALL)
    engine.failing[plan.runtime] = ImageError("the image could not be built", "mend it")
    with pytest.raises(ImageError):
        ensure(engine, plan)
    assert engine.built == [plan.runtime]


@pytest.mark.parametrize("engine", [ListingEngine("python:3.13-slim"), ListingEngine(registry=("python:3.13-slim",))])
def test_python_s_own_image_becomes_the_base(engine: ListingEngine) -> None:
    ensure(engine, build.plan(ALL))
    assert engine.present[base.BASE][base.PYTHON_LABEL] == "3.13"
    assert engine.imported == []


def test_an_adopted_image_without_its_label_is_looked_at_again() -> None:
    engine = ListingEngine("python:3.13-slim", base.BASE)
    ensure(engine, build.plan(ALL))
    assert engine.present[base.BASE][base.PYTHON_LABEL] == "3.13"


def test_an_own_base_is_adopted_with_the_python_it_has() -> None:
    engine, plan = ListingEngine("own/python:1", python="3 14 glibc"), build.plan(ALL, "own/python:1")
    ensure(engine, plan)
    assert engine.present[plan.base][base.PYTHON_LABEL] == "3.14"
    assert base.BASE not in engine.present


@pytest.mark.parametrize(
    ("python", "problem"),
    [("3 12 glibc", "Python 3.12"), ("3 13 unknown", "unknown"), ("", "does not run python3"), ("x", "Python 0.0")],
)
def test_a_base_that_cannot_serve_is_refused_and_not_kept(python: str, problem: str) -> None:
    engine, plan = ListingEngine("own/python:1", python=python), build.plan(ALL, "own/python:1")
    with pytest.raises(BaseImageError) as caught:
        ensure(engine, plan)
    assert "own/python:1" in caught.value.problem
    assert problem in caught.value.problem
    assert "HAILBOX_BASE" in caught.value.remedy
    assert plan.base not in engine.present


def test_an_own_base_that_is_nowhere_is_refused() -> None:
    with pytest.raises(BaseImageError, match="own/python:1"):
        ensure(ListingEngine(), build.plan(ALL, "own/python:1"))


def test_no_base_and_no_way_to_make_one_says_what_to_install() -> None:
    with pytest.raises(BaseImageError) as caught:
        ensure(ListingEngine(), build.plan(ALL))
    assert "mmdebstrap" in caught.value.problem
    assert "apt-get install mmdebstrap" in caught.value.remedy


def tool(tmp_path: Path, script: str) -> None:
    """Put a program named mmdebstrap on the path."""
    program = tmp_path / "bin" / "mmdebstrap"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)


def test_where_nothing_can_be_pulled_the_base_is_bootstrapped(tmp_path: Path) -> None:
    tool(tmp_path, 'for last; do :; done; echo "$@" > "$last"; echo "$@" > ' + str(tmp_path / "arguments"))
    engine = ListingEngine()
    (tmp_path / "cache" / "hailbox" / "base-killed" / "base.root").mkdir(parents=True)
    ensure(engine, build.plan(ALL))
    assert engine.imported == [base.BASE]
    arguments = (tmp_path / "arguments").read_text()
    assert "--include=python3" in arguments
    assert "--architectures=amd64" in arguments
    assert not list((tmp_path / "cache" / "hailbox").glob("base-*"))


def test_a_failed_bootstrap_says_why_and_leaves_nothing(tmp_path: Path) -> None:
    tool(
        tmp_path, 'for last; do :; done; echo part > "$last"; echo "I: working" >&2; echo "E: no mirror" >&2; exit 1'
    )
    engine = ListingEngine()
    with pytest.raises(BaseImageError, match="E: no mirror"):
        ensure(engine, build.plan(ALL))
    assert engine.imported == []
    assert not list((tmp_path / "cache" / "hailbox").glob("base-*"))


def test_a_full_disk_while_bootstrapping_is_named(tmp_path: Path) -> None:
    tool(tmp_path, 'echo "E: write error: No space left on device" >&2; exit 25')
    with pytest.raises(DiskFullError):
        ensure(ListingEngine(), build.plan(ALL))


def test_a_cache_that_cannot_be_made_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(ImageError) as caught:
        ensure(base_present(), build.plan(ALL))
    assert "XDG_CACHE_HOME" in caught.value.remedy


@pytest.mark.parametrize(
    "labels",
    [
        {},
        {names.IMAGE: "cld", names.CONTENT: "0123456789abcdef"},
        {names.IMAGE: "tabled", names.CONTENT: "0123456789abcdef"},
    ],
    ids=["another's image", "another of ours", "other content"],
)
def test_a_name_that_leads_to_another_image_is_built_again(labels: dict[str, str]) -> None:
    engine = ListingEngine(base.BASE)
    engine.present[base.BASE] = {base.PYTHON_LABEL: "3.13"}
    plan = build.plan(["tabled"])
    build.ensure(cast(Engine, engine), plan)
    engine.built.clear()
    build.ensure(cast(Engine, engine), plan)
    assert engine.built == []
    engine.present[plan.services["tabled"]] = labels
    build.ensure(cast(Engine, engine), plan)
    assert engine.built == [plan.services["tabled"]]
