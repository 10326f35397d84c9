"""Images on the real engine: what is in them, what is built again and what is not, and what a kill leaves."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import docker
import pytest

from hailbox import resources
from hailbox.engine.docker import DockerEngine
from hailbox.images import base, build, cache, wheels
from hailbox.images.progress import ImageProgress, Phase
from hailbox.model.errors import BaseImageError, DiskFullError, ImageError

DAEMONS = ("cld", "chunkd", "tabled", "iwhd")
ALL = (*DAEMONS, "credentials")
MADE: list[str] = []
"""References that plans of this module named, the ones that others are built on first."""
LABELS = {"org.hailbox.test": "images"}
RIGHTS: dict[str, Any] = {
    "read_only": True,
    "cap_drop": ["ALL"],
    "security_opt": ["no-new-privileges:true"],
    "network_mode": "none",
}


@pytest.fixture(scope="module")
def engine() -> DockerEngine:
    return DockerEngine()


@pytest.fixture(scope="module")
def client() -> Iterator[docker.DockerClient]:
    connected = docker.from_env()
    yield connected
    connected.close()


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory, engine: DockerEngine) -> Iterator[Path]:
    """Images' and daemons' files in a copy that no other test builds from; the images made of it are removed."""
    root = tmp_path_factory.mktemp("source")
    shutil.copytree(resources.directory("images"), root / "images")
    shutil.copytree(resources.daemons(), root / "haild", ignore=shutil.ignore_patterns("__pycache__"))
    (root / "haild" / "marker.py").write_text(f"MARKER = '{uuid.uuid4()}'\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(resources, "directory", lambda name: root / name)
        patch.setattr(resources, "daemons", lambda: root / "haild")
        patch.delenv("HAILBOX_BASE", raising=False)
        yield root
    # Other stacks may build at the same time, so only what plans of this module named is removed.
    _remove_unfinished(engine)
    for reference in reversed(list(dict.fromkeys(MADE))):
        engine.remove_image(reference)
    assert not [reference for reference in MADE if engine.image(reference)]


def _remove_unfinished(engine: DockerEngine) -> None:
    """Remove what builds that failed or were killed left on the images of this module: layers without a name."""
    ours = {image.id for reference in MADE if (image := engine.image(reference))}
    api = docker.APIClient(version="auto")
    for nameless in api.images(filters={"dangling": True}):
        parent = nameless["Id"]
        while parent and parent not in ours:
            parent = api.inspect_image(parent)["Parent"]  # type: ignore[no-untyped-call]
        if parent:
            engine.remove_image(nameless["Id"])


def plan_for(services: Sequence[str], own_base: str | None = None) -> build.ImagePlan:
    """A plan whose images are removed in the end."""
    plan = build.plan(services, own_base)
    MADE.extend([*([plan.base] if own_base else []), plan.runtime, *plan.services.values()])
    return plan


def ensure(engine: DockerEngine, plan: build.ImagePlan) -> list[str]:
    """Build what is missing; the names of what was built."""
    told: list[ImageProgress] = []
    assert build.ensure(engine, plan, progress=told.append) == plan.services
    return sorted(event.image for event in told if event.phase is Phase.BUILDING)


@pytest.fixture(scope="module")
def built(source: Path, engine: DockerEngine) -> build.ImagePlan:
    plan = plan_for(ALL)
    assert set(ensure(engine, plan)) >= {"runtime", *DAEMONS}
    return plan


def finished(client: docker.DockerClient, image: str, command: Sequence[str], **options: Any) -> bytes:
    """What a container prints, asked for after its end: engine 20.10 may lose the output of a short one otherwise."""
    container = client.containers.run(image, command, detach=True, labels=LABELS, **options, **RIGHTS)
    try:
        assert container.wait()["StatusCode"] == 0, container.logs()
        return bytes(container.logs())
    finally:
        container.remove(force=True)


def run(client: docker.DockerClient, image: str, *code: str) -> str:
    """What a Python program prints in a container with the rights that a stack's containers have."""
    program = textwrap.dedent("\n".join(code))
    return finished(client, image, ["-c", program], entrypoint="python3").decode().strip()


def test_the_same_content_is_not_built_again(engine: DockerEngine, built: build.ImagePlan) -> None:
    again = plan_for(ALL)
    assert again.services == built.services
    assert ensure(engine, again) == []


@pytest.mark.parametrize("service", DAEMONS)
def test_a_daemon_s_image_runs_as_nobody_special_and_finds_its_code(
    client: docker.DockerClient, built: build.ImagePlan, service: str
) -> None:
    said = run(
        client,
        built.services[service],
        "import os, sys, aiohttp, defusedxml, tenacity, haild.wire",
        f"import haild.{service}, haild.marker",
        "print(os.getuid(), os.getgid(), sys.version_info >= (3, 13), haild.marker.__cached__)",
    )
    assert said.startswith("10001 10001 True /opt/hailbox/haild/__pycache__/marker.cpython-3")


@pytest.mark.parametrize("service", DAEMONS)
def test_every_module_is_compiled_for_good(client: docker.DockerClient, built: build.ImagePlan, service: str) -> None:
    said = run(
        client,
        built.services[service],
        "import importlib.util, pathlib",
        "sources = list(pathlib.Path('/opt/hailbox/haild').rglob('*.py'))",
        "compiled = [pathlib.Path(importlib.util.cache_from_source(str(source))) for source in sources]",
        "# PEP 552: flags 1 are a hash that is not checked against the source.",
        "flags = {int.from_bytes(file.read_bytes()[4:8], 'little') for file in compiled}",
        "print(len(sources) > 10, flags)",
    )
    assert said == "True {1}"


@pytest.mark.parametrize("service", DAEMONS)
def test_the_entry_point_is_the_daemon(
    engine: DockerEngine, client: docker.DockerClient, built: build.ImagePlan, service: str
) -> None:
    image = client.images.get(built.services[service])
    assert image.attrs["Config"]["Entrypoint"] == ["python3", "-m", f"haild.{service}"]
    assert image.attrs["Config"]["User"] == "10001:10001"
    assert image.labels["org.hailbox.image"] == service
    wrapper = run(client, built.services[service], "import shutil", f"print(shutil.which('{service}'))")
    assert wrapper == f"/usr/sbin/{service}"


def test_the_one_shot_writes_to_a_fresh_volume(client: docker.DockerClient, built: build.ImagePlan) -> None:
    volume = client.volumes.create(labels=LABELS)
    try:
        mount = {volume.name: {"bind": "/etc/hailbox", "mode": "rw"}}
        finished(
            client,
            built.services["credentials"],
            ["--directory", "/etc/hailbox", "--file", "x/y.conf", "user is @CLD_USER@"],
            entrypoint=["python3", "-m", "haild.credentials"],
            volumes=mount,
        )
        read = ["/etc/hailbox/x/y.conf"]
        assert finished(client, built.services["cld"], read, entrypoint="cat", volumes=mount) == b"user is tabled"
    finally:
        volume.remove(force=True)


@pytest.mark.parametrize("service", DAEMONS)
def test_a_fresh_data_volume_belongs_to_the_daemon(
    client: docker.DockerClient, built: build.ImagePlan, service: str
) -> None:
    volume = client.volumes.create(labels=LABELS)
    try:
        client.containers.run(
            built.services[service],
            [f"/var/lib/{service}/written"],
            entrypoint="touch",
            volumes={volume.name: {"bind": f"/var/lib/{service}", "mode": "rw"}},
            remove=True,
            labels=LABELS,
            **RIGHTS,
        )
    finally:
        volume.remove(force=True)


def test_an_edited_daemon_is_built_alone(engine: DockerEngine, source: Path, built: build.ImagePlan) -> None:
    (source / "haild" / "chunkd" / "edited.py").write_text("EDITED = True\n")
    edited = plan_for(ALL)
    assert ensure(engine, edited) == ["chunkd"]
    assert {service for service in ALL if edited.services[service] != built.services[service]} == {"chunkd"}


def test_a_build_that_fails_says_why_and_leaves_no_tag(
    engine: DockerEngine, source: Path, built: build.ImagePlan
) -> None:
    wrong = source / "haild" / "iwhd" / "wrong.py"
    wrong.write_text("def (:\n")
    try:
        plan = plan_for(["iwhd"])
        with pytest.raises(ImageError) as caught:
            build.ensure(engine, plan)
        assert "wrong.py" in str(caught.value.problem)
        assert engine.image(plan.services["iwhd"]) is None
    finally:
        wrong.unlink()


def test_two_runs_at_once_build_each_image_once(engine: DockerEngine, source: Path, built: build.ImagePlan) -> None:
    (source / "haild" / "cld" / "twice.py").write_text("TWICE = True\n")
    plan = plan_for(["cld"])
    names: list[list[str]] = []
    threads = [threading.Thread(target=lambda: names.append(ensure(DockerEngine(), plan))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(names) == [[], ["cld"]]


KILLED = """
import os, sys
from pathlib import Path
from hailbox import resources
from hailbox.engine.docker import DockerEngine
from hailbox.images import build
root = Path(sys.argv[1])
resources.directory, resources.daemons = lambda name: root / name, lambda: root / "haild"
tell = lambda event: os.write(1, f"{event.image} {event.phase}\\n".encode())
build.ensure(DockerEngine(), build.plan(["cld", "tabled"]), progress=tell)
"""


@pytest.mark.parametrize("moment", ["wheels fetching", "runtime building", "runtime ready", "tabled building"])
def test_a_run_killed_at_any_moment_is_made_good_by_the_next(
    engine: DockerEngine, source: Path, tmp_path: Path, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if moment == "wheels fetching":
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    (source / "haild" / "marker.py").write_text(f"MARKER = '{uuid.uuid4()}'\n")
    program = [sys.executable, "-c", KILLED, str(source)]
    with subprocess.Popen(program, stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
        assert process.stdout is not None
        assert any(line.strip() == moment for line in process.stdout), "it ended before that moment"
        os.killpg(process.pid, signal.SIGKILL)
    plan = plan_for(["cld", "tabled"])
    ensure(engine, plan)
    assert all(engine.image(reference) for reference in plan.services.values())
    assert not list(cache.directory().glob("fetching-*"))


def test_an_own_base_is_adopted(
    engine: DockerEngine, client: docker.DockerClient, source: Path, built: build.ImagePlan
) -> None:
    def nameless() -> set[str]:
        return {image.id for image in engine.images({"org.hailbox.image": "base"}) if not image.tags}

    before = nameless()
    client.images.get(base.BASE).tag("hailbox-test/own-base", "1")
    try:
        plan = plan_for(["cld"], "hailbox-test/own-base:1")
        engine.remove_image(plan.base)  # of a run that was ended in the midst
        assert ensure(engine, plan) == ["base", "cld", "runtime"]
        adopted = engine.image(plan.base)
        assert base.python_of(adopted) == base.python_of(engine.image(base.BASE))
        assert ensure(engine, plan) == []
        assert nameless() <= before
    finally:
        engine.remove_image("hailbox-test/own-base:1")


def test_an_image_without_python_is_refused_as_base(engine: DockerEngine, source: Path, tmp_path: Path) -> None:
    archive = tmp_path / "empty.tar"
    subprocess.run(["tar", "-cf", str(archive), "-T", "/dev/null"], check=True)
    engine.import_image(archive, "hailbox-test/empty:1", labels=LABELS)
    try:
        plan = plan_for(["cld"], "hailbox-test/empty:1")
        with pytest.raises(BaseImageError, match="does not run python3"):
            build.ensure(engine, plan)
        assert engine.image(plan.base) is None
    finally:
        engine.remove_image("hailbox-test/empty:1")


@pytest.fixture
def small_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A cache directory on a disk of 2 MiB."""
    mounted = tmp_path / "small"
    mounted.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "hailbox-test", str(mounted)], capture_output=True
    )
    if done.returncode != 0:
        pytest.skip(f"a small disk takes the right to mount one: {done.stderr.decode().strip()}")
    monkeypatch.setenv("XDG_CACHE_HOME", str(mounted))
    yield mounted
    subprocess.run(["umount", str(mounted)], check=True)


def test_a_disk_that_fills_up_while_wheels_are_fetched_is_named(small_disk: Path) -> None:
    with pytest.raises(DiskFullError, match=str(small_disk)):
        wheels.ensure(resources.directory("images") / build.LOCK, base.PYTHON, "amd64")
    assert [path.name for path in (small_disk / "hailbox").iterdir()] == ["wheels.lock"]
