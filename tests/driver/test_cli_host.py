"""What is missing or in the way on the host, as the real program tells it."""

import json
import os
import socket
import stat
import sys
import tarfile
from pathlib import Path

import pytest

from hailbox.images import build as images
from hailbox.model import names
from support.cli_program import NO_ENGINE, run
from support.engine_server import EMPTY, engine, refusing, serve


def bare_python(directory: Path) -> tuple[str, dict[str, str]]:
    """A Python beside which, and in whose PATH, there is no Compose; and the variables that it needs."""
    folder = directory / "bin"
    folder.mkdir()
    python = folder / "python3"
    python.symlink_to(Path(sys.executable).resolve())
    return str(python), {"PATH": str(folder), "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}


def script(path: Path, text: str) -> None:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


@pytest.mark.parametrize("verb", ["ls", "up"])
def test_no_engine(tmp_path: Path, verb: str) -> None:
    ended = run(tmp_path, verb)
    assert (ended.status, ended.out) == (3, "")
    code, problem, remedy = ended.error()
    assert code == "engine-unreachable"
    assert NO_ENGINE in problem
    assert "No such file or directory" in problem
    assert "DOCKER_HOST" in remedy


def test_bundle_for_a_bug_report_without_an_engine(tmp_path: Path) -> None:
    bundle = tmp_path / "bundle.tar.gz"
    ended = run(tmp_path, "doctor", "--bundle", str(bundle))
    assert (ended.status, ended.error()[0]) == (3, "engine-unreachable")
    with tarfile.open(bundle) as archive:
        texts = {Path(name).name: archive.extractfile(name).read().decode() for name in archive.getnames()}  # type: ignore[union-attr]
    assert {"doctor.json", "host.json", "choices.json", "hailbox.yaml"} <= texts.keys()
    assert NO_ENGINE in texts["engine.json"]
    assert json.loads(texts["doctor.json"])["findings"][0]["code"] == "engine-unreachable"
    assert json.loads(texts["host.json"])["processors"] == os.cpu_count()


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("tcp://127.0.0.1:1", "refused"),
        ("gopher://127.0.0.1", "gopher://127.0.0.1"),
    ],
)
def test_engine_address_that_leads_nowhere(tmp_path: Path, address: str, reason: str) -> None:
    code, problem, _ = run(tmp_path, "ls", variables={"DOCKER_HOST": address}).error()
    assert code == "engine-unreachable"
    assert reason in problem


def test_context_of_the_docker_client_that_is_not_there(tmp_path: Path) -> None:
    code, problem, _ = run(tmp_path, "ls", variables={"DOCKER_HOST": "", "DOCKER_CONTEXT": "elsewhere"}).error()
    assert code == "bad-usage"
    assert "'elsewhere'" in problem


def test_engine_that_refuses(tmp_path: Path) -> None:
    with serve(tmp_path, refusing) as address:
        ended = run(tmp_path, "ls", variables={"DOCKER_HOST": address})
    assert (ended.status, ended.out) == (3, "")
    code, problem, _ = ended.error()
    assert code == "engine-denied"
    assert address in problem


def test_engine_that_is_too_old(tmp_path: Path) -> None:
    with serve(tmp_path, engine(EMPTY, version="19.03.15", api="1.40")) as address:
        ended = run(tmp_path, "up", variables={"DOCKER_HOST": address})
    assert (ended.status, ended.out) == (3, "")
    code, problem, _ = ended.error()
    assert code == "engine-too-old"
    assert "19.03.15" in problem
    assert "20.10" in problem


@pytest.mark.parametrize("verb", ["status", "up", "ls", "doctor"])
def test_full_disk_of_the_engine(tmp_path: Path, verb: str) -> None:
    """The engine answers what writes nothing; for the rest it has this error, whatever was asked."""

    def full(method: str, path: str) -> tuple[int, object]:
        if path == "/version":
            return engine(EMPTY)(method, path)
        return 500, {"message": "mkdir /var/lib/docker/overlay2/0/merged: no space left on device"}

    with serve(tmp_path, full) as address:
        ended = run(tmp_path, verb, variables={"DOCKER_HOST": address})
    assert ended.status == 3
    code, problem, remedy = ended.error()
    assert code == "disk-full"
    assert "/var/lib/docker/overlay2/0/merged" in problem
    assert "free some space" in remedy


def test_no_compose(tmp_path: Path) -> None:
    python, variables = bare_python(tmp_path)
    with serve(tmp_path, engine(EMPTY)) as address:
        ended = run(tmp_path, "up", variables={**variables, "DOCKER_HOST": address}, python=python)
    assert (ended.status, ended.out) == (3, "")
    code, _, remedy = ended.error()
    assert code == "compose-missing"
    assert "hailbox[compose]" in remedy


def test_compose_that_is_too_old(tmp_path: Path) -> None:
    python, variables = bare_python(tmp_path)
    script(tmp_path / "bin" / "docker-compose", "echo 2.20.0")
    # The docker client is there, and has no plugin.
    script(tmp_path / "bin" / "docker", "echo 'unknown command' >&2; exit 1")
    with serve(tmp_path, engine(EMPTY)) as address:
        ended = run(tmp_path, "up", variables={**variables, "DOCKER_HOST": address}, python=python)
    assert (ended.status, ended.out) == (3, "")
    code, problem, _ = ended.error()
    assert code == "compose-too-old"
    assert f"{tmp_path}/bin/docker-compose is 2.20.0" in problem
    assert "2.24" in problem


def test_port_that_another_program_holds_is_refused_and_the_program_named(tmp_path: Path) -> None:
    python, variables = bare_python(tmp_path)
    script(tmp_path / "bin" / "docker-compose", "echo 2.39.1")
    plan = images.plan(["cld", "chunkd", "tabled", "iwhd"])
    tags = [plan.runtime, *plan.services.values()]
    held = EMPTY | {
        f"/images/{tag}/json": {
            "Id": tag,
            "RepoTags": [tag],
            "Size": 1,
            "Config": {"Labels": {names.IMAGE: tag.partition("/")[2].partition(":")[0]}},
        }
        for tag in tags
    }
    with socket.create_server(("127.0.0.1", 0)) as holder, serve(tmp_path, engine(held)) as address:
        port = holder.getsockname()[1]
        ended = run(
            tmp_path,
            *("up", "--port", f"tabled={port}"),
            variables={**variables, "DOCKER_HOST": address},
            python=python,
        )
    assert (ended.status, ended.out) == (3, "")
    code, problem, _ = ended.error()
    assert code == "port-taken"
    assert str(port) in problem
    assert f"(pid {os.getpid()})" in problem
