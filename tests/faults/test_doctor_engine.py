"""What `doctor` and `status --why` say of real trouble, and that a bundle holds none of the stack's credentials."""

import json
import tarfile
from pathlib import Path

import pytest

from support.enginestack import Stack

pytestmark = pytest.mark.timeout(300)


def why(stack: Stack) -> tuple[list[str], str]:
    """The codes of the findings, and the first in words; the exit status is that of the first."""
    answer = stack.run("status", "--why", ok=False)
    findings = answer.data["findings"]
    assert answer.status == (findings[0]["exit_status"] if findings else 0)
    assert [error["code"] for error in answer.errors] == [finding["code"] for finding in findings[:1]]
    return [finding["code"] for finding in findings], findings[0]["problem"] if findings else ""


def test_the_root_of_real_trouble(stack: Stack) -> None:
    stack.run("up")
    assert why(stack) == ([], "")

    stack.run("fault", "kill", "chunkd-1")
    codes, problem = why(stack)
    assert codes == ["fault-in-effect"]
    assert problem.endswith("iwhd-1, tabled-1 wait for it")
    stack.run("fault", "clear")
    stack.run("wait")

    for harm, code in (
        (lambda: stack.container("chunkd-1").kill("SIGSTOP"), "unresponsive"),
        (lambda: stack.container("chunkd-1").pause(), "container-paused"),
        (lambda: stack.container("chunkd-1").stop(timeout=1), "container-stopped"),
        (lambda: stack.container("chunkd-1").remove(force=True), "container-gone"),
        (
            lambda: stack.client.networks.get(f"hailbox-{stack.name}").disconnect(
                f"hailbox-{stack.name}-chunkd-1", force=True
            ),
            "network-gone",
        ),
    ):
        harm()
        codes, problem = why(stack)
        assert codes == [code]
        assert problem.startswith("chunkd-1 ")
        stack.run("up")
        assert why(stack) == ([], "")


def test_a_volume_removed_while_the_stack_was_down(stack: Stack) -> None:
    stack.run("up")
    stack.run("down")
    stack.client.volumes.get(f"hailbox-{stack.name}-tabled-1").remove()
    codes, problem = why(stack)
    assert codes[0] == "volume-gone"
    assert "tabled-1" in problem


def leftovers(stack: Stack) -> list[str]:
    findings = stack.run("doctor", ok=False).data["findings"]
    return [f["problem"] for f in findings if f["code"] == "leftovers" and stack.name in f["problem"]]


def test_volumes_alone_are_still_a_stack(stack: Stack) -> None:
    """Each carries the record of what the stack is, so that `docker container prune` takes nothing of it."""
    stack.run("up", "--profile", "fs")
    for container in stack.containers():
        stack.client.containers.get(container).remove(force=True)
    assert leftovers(stack) == []
    stack.run("up")
    assert sorted(name.removeprefix(f"hailbox-{stack.name}-") for name in stack.containers()) == [
        "credentials",
        "iwhd-1",
    ]


def test_leftovers_of_an_older_hailbox_are_named(stack: Stack) -> None:
    """hailbox 0.1 kept the record on one container alone."""
    labels = {"org.hailbox.stack": stack.name, "org.hailbox.replica": "iwhd-1", "org.hailbox.kind": "data"}
    stack.client.volumes.create(f"hailbox-{stack.name}-iwhd-1", labels=labels)
    (problem,) = leftovers(stack)
    assert "0 containers, 1 volumes, 0 networks" in problem


def test_a_bundle_holds_no_credential(stack: Stack, tmp_path: Path) -> None:
    stack.run("up")
    secret = stack.run("env").data["AWS_SECRET_ACCESS_KEY"]
    (tmp_path / "hailbox.yaml").write_text(f"# {secret}\n")
    found, _ = stack.container("cld-1").get_archive("/etc/hailbox/credentials.json")
    (tmp_path / "read.tar").write_bytes(b"".join(found))
    with tarfile.open(tmp_path / "read.tar") as archive:
        stream = archive.extractfile("credentials.json")
        assert stream
        credentials = json.load(stream)
    assert credentials["AWS_SECRET_ACCESS_KEY"] == secret
    stack.home = tmp_path
    stack.run("doctor", "--bundle", str(tmp_path / "report.tar.gz"), ok=False)
    with tarfile.open(tmp_path / "report.tar.gz") as archive:
        files = {member.name.partition("/")[2]: archive.extractfile(member) for member in archive.getmembers()}
        texts = {name: stream.read().decode() for name, stream in files.items() if stream}
    assert {"doctor.json", "host.json", "stack.json", "details.json", "engine.json", "compose.json"} <= texts.keys()
    assert f"logs/hailbox-{stack.name}-chunkd-1.log" in texts
    for name, value in credentials.items():
        if name != "CLD_USER":  # is `tabled` in every stack
            assert not [file for file, text in texts.items() if value in text], name
