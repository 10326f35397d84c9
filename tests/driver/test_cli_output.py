"""What goes to standard output and what to standard error; the JSON envelope; readers that go away."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hailbox.cli.command import choose
from hailbox.cli.envelope import envelope, plain, text
from hailbox.cli.output import lines
from hailbox.commands.down import Removal
from hailbox.model.config import Config
from hailbox.model.errors import PortTakenError
from support.cli_program import command, environment, run
from support.engine_server import EMPTY, engine, serve

KEYS = ["version", "command", "stack", "status", "exit_code", "data", "errors"]
STACK = {"org.hailbox.stack": "one"}


def volume(name: str, labels: dict[str, str]) -> dict[str, Any]:
    return {"Name": name, "Labels": labels}


HELD = EMPTY | {
    "/containers/json": [
        {
            "Id": "c1",
            "Names": ["/hailbox-one-cld-1"],
            "Image": "hailbox/cld:1",
            "ImageID": "sha256:1",
            "State": "exited",
            "Labels": STACK | {"org.hailbox.replica": "cld-1", "org.hailbox.service": "cld"},
            "Ports": [],
            "Mounts": [],
        }
    ],
    "/volumes": {
        "Volumes": [
            volume("hailbox-one-cld-1", STACK | {"org.hailbox.kind": "data", "org.hailbox.replica": "cld-1"}),
            volume("hailbox-one-credentials", STACK | {"org.hailbox.kind": "credentials"}),
        ]
    },
    "/networks": [{"Id": "n1", "Name": "hailbox-one", "Labels": STACK}],
}


@pytest.fixture
def holding(tmp_path: Path) -> Iterator[str]:
    """An engine with a stack that was taken down."""
    with serve(tmp_path, engine(HELD)) as address:
        yield address


def test_envelope_of_success(tmp_path: Path, holding: str) -> None:
    ended = run(tmp_path, "destroy", "--dry-run", "--stack", "one", "--json", variables={"DOCKER_HOST": holding})
    document = ended.document()
    assert list(document) == KEYS
    assert document | {"data": None} == {
        "version": 1,
        "command": "destroy",
        "stack": "one",
        "status": "ok",
        "exit_code": 0,
        "data": None,
        "errors": [],
    }
    assert document["data"] == {
        "stack": "one",
        "dry_run": True,
        "containers": ["hailbox-one-cld-1"],
        "volumes": ["hailbox-one-cld-1", "hailbox-one-credentials"],
        "networks": ["hailbox-one"],
        "images": [],
        "killed": [],
    }
    assert (ended.status, ended.err) == (0, "")


def test_envelope_of_an_error(tmp_path: Path) -> None:
    ended = run(tmp_path, "up", "--json", variables={"HAILBOX_STACK": "two"})
    document = ended.document()
    assert list(document) == KEYS
    assert (document["version"], document["command"], document["stack"]) == (1, "up", "two")
    assert (document["status"], document["exit_code"], document["data"]) == ("error", 3, None)
    (error,) = document["errors"]
    assert list(error) == ["code", "problem", "remedy"]
    assert error["code"] == "engine-unreachable"
    assert (ended.status, ended.err) == (3, "")


def test_status_that_is_not_good_has_both_data_and_an_error(tmp_path: Path, holding: str) -> None:
    ended = run(tmp_path, "--json", "--stack", "one", "status", variables={"DOCKER_HOST": holding})
    document = ended.document()
    assert (document["status"], document["exit_code"], ended.status) == ("error", 5, 5)
    assert {replica["replica"]: replica["working"] for replica in document["data"]["replicas"]} == {
        "cld-1": False,
        "chunkd-1": False,
        "tabled-1": False,
        "iwhd-1": False,
    }
    assert [error["code"] for error in document["errors"]] == ["not-working"]


def test_status_that_is_not_good_says_what_to_do(tmp_path: Path, holding: str) -> None:
    ended = run(tmp_path, "status", "--quiet", "--stack", "one", variables={"DOCKER_HOST": holding})
    assert ended.status == 5
    assert "NOT WORKING" in ended.out
    assert "its container is exited" in ended.out
    code, problem, remedy = ended.error()
    assert code == "not-working"
    assert "cld-1, chunkd-1, tabled-1, iwhd-1 of stack one" in problem
    assert "hailbox --stack one up" in remedy


def test_listing_is_about_no_stack(tmp_path: Path, holding: str) -> None:
    document = run(tmp_path, "ls", "--json", "--stack", "two", variables={"DOCKER_HOST": holding}).document()
    assert document["stack"] is None
    assert [(entry["stack"], entry["profile"]) for entry in document["data"]] == [("one", "?")]


def test_order_of_choices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "hailbox.yaml").write_text("stack: in-file\nprofile: fs\nports: {iwhd: 1, tabled: 2}\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HAILBOX_STACK", raising=False)
    assert choose(None) == Config(stack="in-file", profile="fs", ports={"iwhd": 1, "tabled": 2})
    assert choose(None, profile=None, ports={"tabled": 3}).ports == {"iwhd": 1, "tabled": 3}
    assert choose(None, profile="s3").profile == "s3"
    monkeypatch.setenv("HAILBOX_STACK", "in-environment")
    assert choose(None).stack == "in-environment"
    assert choose("on-line").stack == "on-line"


@pytest.mark.parametrize("arguments", [["ls"], ["--help"]])
def test_reader_that_goes_away_is_no_trouble(tmp_path: Path, holding: str, arguments: list[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        ended = subprocess.run(
            command(*arguments),
            cwd=tmp_path,
            env=environment(tmp_path, DOCKER_HOST=holding),
            stdout=writing,
            stderr=subprocess.PIPE,
            text=True,
            timeout=30,
            check=False,
        )
    finally:
        os.close(writing)
    assert ended.stderr == ""
    assert ended.returncode in ((0,) if "ls" in arguments else (0, 1))


def test_output_to_a_full_disk(tmp_path: Path, holding: str) -> None:
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(
            command("ls"),
            cwd=tmp_path,
            env=environment(tmp_path, DOCKER_HOST=holding),
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=30,
            check=False,
        )
    assert ended.returncode == 3
    assert len(ended.stderr.splitlines()) == 2
    assert "[disk-full]" in ended.stderr


def test_listing_in_an_encoding_that_lacks_letters(tmp_path: Path) -> None:
    ended = subprocess.run(
        command("status", "--stack", "é"),
        cwd=tmp_path,
        env=environment(tmp_path, PYTHONIOENCODING="ascii"),
        capture_output=True,
        timeout=30,
        check=False,
    )
    assert ended.returncode == 2
    assert b"cannot name a stack [bad-usage]" in ended.stderr
    assert b"Traceback" not in ended.stderr


def test_debug_shows_the_traceback_and_the_two_lines(tmp_path: Path) -> None:
    ended = subprocess.run(
        command("ls", "--debug"),
        cwd=tmp_path,
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert ended.returncode == 3
    assert "Traceback" in ended.stderr
    assert "hailbox: no engine answers at unix:///nonexistent.sock" in ended.stderr


def test_what_json_does_not_know_is_made_plain() -> None:
    removal = Removal("x", False, volumes=("a", "b"))
    assert plain({"removal": removal, 5: frozenset({1})}) == {
        "removal": {
            "stack": "x",
            "dry_run": False,
            "containers": [],
            "volumes": ["a", "b"],
            "networks": [],
            "images": [],
            "killed": [],
        },
        "5": [1],
    }


def test_code_stands_on_the_first_line_whatever_is_quoted_behind_it() -> None:
    error = PortTakenError("it said:\n  one\n  two", "do")
    assert lines(error) == "hailbox: it said: [port-taken]\n  one\n  two\n  → do"


def test_exit_code_is_that_of_the_error() -> None:
    document = envelope("up", "x", None, [PortTakenError("wrong", "do")])
    assert (document["status"], document["exit_code"]) == ("error", PortTakenError.exit_status)
    assert "é" in text(envelope("é", None, None))
