"""The commands in groups, `fault …` and `snapshot …`, and `doctor` on the command line, without an engine."""

from pathlib import Path

import pytest

from hailbox.cli.commands import fault, snapshot
from support.cli_program import run

COMMANDS = [("fault", known.name) for known in fault.app.registered_commands] + [
    ("snapshot", known.name) for known in snapshot.app.registered_commands
]


def test_every_command_is_there() -> None:
    kinds = {"kill", "pause", "stop", "partition", "isolate", "fill-disk", "corrupt", "slow", "ls", "clear"}
    assert {name for group, name in COMMANDS if group == "fault"} == kinds
    assert {name for group, name in COMMANDS if group == "snapshot"} == {
        "save",
        "ls",
        "restore",
        "rm",
        "export",
        "import",
    }


@pytest.mark.parametrize(("group", "command"), COMMANDS)
def test_help_of_each_names_the_common_options(tmp_path: Path, group: str, command: str) -> None:
    ended = run(tmp_path, group, command, "--help")
    assert (ended.status, ended.err) == (0, "")
    for option in ("--stack", "--json", "--quiet", "--debug", "--help"):
        assert option in ended.out
    if group == "fault" and command not in ("ls", "clear"):
        assert "--for" in ended.out
    if command in ("restore", "rm"):
        assert "--dry-run" in ended.out


@pytest.mark.parametrize("group", ["fault", "snapshot"])
def test_a_group_alone_shows_what_is_in_it(tmp_path: Path, group: str) -> None:
    ended = run(tmp_path, group)
    assert (ended.status, ended.err) == (2, "")
    for known, command in COMMANDS:
        assert known != group or f"  {command} " in ended.out


def test_the_envelope_names_the_whole_command(tmp_path: Path) -> None:
    for words in (("fault", "ls"), ("snapshot", "ls")):
        document = run(tmp_path, *words, "--json").document()
        assert document["command"] == " ".join(words)
        assert [error["code"] for error in document["errors"]] == ["engine-unreachable"]


@pytest.mark.parametrize(
    ("words", "wrong"),
    [
        (("fault", "kill", "cld-1", "--for", "soon"), "--for 'soon' is not a duration"),
        (("fault", "slow", "cld-1", "--loss", "300%"), "--loss '300%' is no share"),
        (("reset", "chunkd", "--to", "seed"), "a snapshot is of all services"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_the_engine_is_asked(
    tmp_path: Path, words: tuple[str, ...], wrong: str
) -> None:
    ended = run(tmp_path, *words)
    assert ended.status == 2
    assert wrong in ended.err
