"""Stacks of test runs: whose they are, and whether that process is still there."""

import os
import subprocess
import sys

import pytest

from hailbox import processes
from hailbox.model import names
from hailbox.testing import owner


def test_the_stack_of_a_living_process_is_not_abandoned() -> None:
    name = owner.stack_name("gw12")
    assert names.check_stack(name) == name
    assert f"-{os.getpid()}-" in name
    assert not owner.abandoned(name)
    assert not owner.abandoned(owner.stack_name())


def test_the_stack_of_a_dead_process_is() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        name = owner.stack_name(pid=process.pid)
        assert not owner.abandoned(name)
    assert owner.abandoned(name)
    with pytest.raises(ProcessLookupError):
        owner.stack_name(pid=process.pid)


def test_a_process_id_that_was_given_out_again_is_another_process(monkeypatch: pytest.MonkeyPatch) -> None:
    name = owner.stack_name()
    monkeypatch.setattr(processes, "began", lambda _pid: "another time")
    assert owner.abandoned(name)


def test_another_boot_ended_every_process(monkeypatch: pytest.MonkeyPatch) -> None:
    name = owner.stack_name()
    monkeypatch.setattr(processes, "boot", lambda: "another boot")
    assert owner.abandoned(name)


def test_another_hosts_stacks_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    name = owner.stack_name()
    monkeypatch.setattr(processes, "began", lambda _pid: None)
    assert owner.abandoned(name)
    monkeypatch.setattr(owner, "_host", lambda: "another host")
    assert not owner.abandoned(name)


@pytest.mark.parametrize("name", ["hail", "pt", "pt-x", "pt-12-34", "test-1234", "my-pt-0000-1-00000000"])
def test_stacks_of_people_are_never_taken_for_one(name: str) -> None:
    assert not owner.abandoned(name)
