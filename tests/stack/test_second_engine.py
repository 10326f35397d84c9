"""Every verb that changes a stack, on engine 26.1; `make test-second-engine` runs the other tests there, too."""

import subprocess
from pathlib import Path

import pytest

from support.acknowledged import Acknowledged
from support.enginestack import Stack
from support.nestedengine import NestedEngine

pytestmark = [pytest.mark.timeout(300), pytest.mark.second_engine]


def test_verbs_on_engine_26(nested: NestedEngine, tmp_path: Path) -> None:
    if not nested.answers():
        nested.start()
    with nested.entered():
        stack = Stack("test-second-engine", tmp_path)
        try:
            exercise(stack)
        finally:
            if stack.labelled():
                stack.run("destroy")
        assert stack.labelled() == []
        stack.client.close()


def exercise(stack: Stack) -> None:
    stack.run("up")
    doctor = stack.run("doctor", ok=False).data
    version = next(check["detail"] for check in doctor["checks"] if check["name"] == "engine")
    assert version.startswith("version 26.1"), version
    objects = Acknowledged()
    objects.put(stack.s3())

    stack.run("snapshot", "save", "seeded")
    stack.run("fault", "pause", "chunkd-1")
    assert stack.run("status", ok=False).status == 5
    assert stack.run("up").data["ended_faults"] == ["pause-chunkd-1"]
    stack.run("down")
    stack.run("up")
    objects.expect_all(stack)

    stack.run("reset")
    assert len(objects.missing(stack)) == len(objects.bodies)
    stack.run("reset", "--to", "seeded")
    objects.expect_all(stack)

    command = stack.command("exec", "tabled-1", "echo", "heard")
    assert subprocess.run(command, env=stack.environment(), check=True, capture_output=True).stdout == b"heard\n"
    assert stack.run("logs", "cld").data
    stack.run("destroy")
