"""Which images a stack needs: the same files, the same names; an edit renames only what it is in."""

from __future__ import annotations

import ast
import re
import shutil
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from hailbox import resources
from hailbox.images import build
from hailbox.model.errors import UnknownServiceError

ROOT = Path(__file__).parents[2]
DAEMONS = ("cld", "chunkd", "tabled", "iwhd")
ALL = (*DAEMONS, "credentials")


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of images/ and of haild that a test may edit, in place of the real ones."""
    shutil.copytree(resources.directory("images"), tmp_path / "images")
    shutil.copytree(resources.daemons(), tmp_path / "haild", ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(resources, "directory", lambda name: tmp_path / name)
    monkeypatch.setattr(resources, "daemons", lambda: tmp_path / "haild")
    monkeypatch.delenv("HAILBOX_BASE", raising=False)
    return tmp_path


def renamed(before: build.ImagePlan, after: build.ImagePlan) -> set[str]:
    return {service for service in before.services if before.services[service] != after.services[service]}


def test_references_name_the_image_and_its_content(tree: Path) -> None:
    plan = build.plan(ALL)
    assert plan.services.keys() == set(ALL)
    for service in DAEMONS:
        assert re.fullmatch(rf"hailbox/{service}:[0-9a-f]{{16}}", plan.services[service])
    assert plan.services["credentials"] == plan.runtime
    assert plan.base == "hailbox/base:python3.13"


def test_the_same_files_make_the_same_plan(tree: Path) -> None:
    first = build.plan(ALL)
    (tree / "haild" / "cld" / "__pycache__").mkdir()
    (tree / "haild" / "cld" / "__pycache__" / "x.cpython-311.pyc").write_bytes(b"compiled")
    assert build.plan(ALL) == first
    assert build.plan(["cld"]).services["cld"] == first.services["cld"]


@pytest.mark.parametrize("service", DAEMONS)
def test_an_edited_daemon_renames_its_image_only(tree: Path, service: str) -> None:
    before = build.plan(ALL)
    (tree / "haild" / service / "added.py").write_text("ADDED = True\n")
    assert renamed(before, build.plan(ALL)) == {service}


@pytest.mark.parametrize(
    "name", ["haild/wire/__init__.py", "haild/credentials.py", "images/wheels.lock", "images/runtime/Dockerfile"]
)
def test_what_all_share_renames_all(tree: Path, name: str) -> None:
    before = build.plan(ALL)
    with (tree / name).open("a") as file:
        file.write("\n# edited\n")
    assert renamed(before, build.plan(ALL)) == set(ALL)


def test_an_edited_dockerfile_renames_its_image(tree: Path) -> None:
    before = build.plan(ALL)
    with (tree / "images/tabled/Dockerfile").open("a") as file:
        file.write("EXPOSE 8080\n")
    assert renamed(before, build.plan(ALL)) == {"tabled"}


def test_another_base_renames_all(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = build.plan(ALL)
    chosen = build.plan(ALL, "own/python:1")
    assert renamed(before, chosen) == set(ALL)
    assert chosen.base != before.base
    monkeypatch.setenv("HAILBOX_BASE", "own/python:1")
    assert build.plan(ALL) == chosen


def test_daemons_are_built_on_the_runtime_and_that_on_the_base(tree: Path) -> None:
    plan = build.plan(ALL, "own/python:1")
    assert f"ARG BASE={plan.base}\n".encode() in plan.contexts[plan.runtime].files["Dockerfile"]
    for service in DAEMONS:
        assert f"ARG RUNTIME={plan.runtime}\n".encode() in plan.contexts[plan.services[service]].files["Dockerfile"]


def test_an_image_holds_its_own_daemon_only(tree: Path) -> None:
    plan = build.plan(ALL)
    for service in DAEMONS:
        files = plan.contexts[plan.services[service]].files
        assert f"bin/{service}" in files
        assert {path.split("/")[1] for path in files if path.startswith("haild/")} == {service}
    shared = {path.split("/")[2] for path in plan.contexts[plan.runtime].files if path.startswith("lib/haild/")}
    assert {"wire", "client", "daemon", "credentials.py"} <= shared
    assert not shared & set(DAEMONS)


@pytest.mark.parametrize("service", ["mongod", "base", "runtime", ""])
def test_an_unknown_service_is_refused(service: str) -> None:
    with pytest.raises(UnknownServiceError) as caught:
        build.plan([service])
    assert "chunkd, cld, iwhd, tabled" in caught.value.remedy


def pins(lock: Path) -> dict[str, str]:
    return dict(re.findall(r"^([a-z0-9-]+)==([^ ;]+)", lock.read_text(), re.MULTILINE))


def test_the_images_have_the_versions_that_the_tests_run_with() -> None:
    tested = pins(ROOT / "requirements" / "dev.lock")
    shipped = pins(ROOT / "images" / "wheels.lock")
    assert shipped
    assert shipped.items() <= tested.items()


def test_every_dependency_of_the_project_is_locked() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    extras = project["project"]["optional-dependencies"]
    asked = [
        *project["build-system"]["requires"],
        *project["project"]["dependencies"],
        *extras["dev"],
        *extras["compose"],
    ]
    names = {re.split(r"[^A-Za-z0-9._-]", requirement)[0].lower() for requirement in asked}
    assert names <= pins(ROOT / "requirements" / "dev.lock").keys()


def test_the_locks_name_no_index() -> None:
    for lock in (ROOT / "requirements" / "dev.lock", ROOT / "images" / "wheels.lock"):
        assert not re.search(r"://|^\s*--(index|extra|find|trusted)", lock.read_text(), re.MULTILINE)


def imported() -> Iterator[str]:
    """The top-level packages that haild imports."""
    for file in resources.daemons().rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_bytes())):
            if isinstance(node, ast.Import):
                yield from (alias.name.partition(".")[0] for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
                yield node.module.partition(".")[0]


def test_the_images_have_all_that_haild_imports() -> None:
    foreign = set(imported()) - sys.stdlib_module_names - {"haild"}
    packages = packages_distributions()
    needed = {packages[name][0].lower().replace("_", "-") for name in foreign}
    assert needed <= pins(ROOT / "images" / "wheels.lock").keys()
