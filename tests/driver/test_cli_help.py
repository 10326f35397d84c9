"""Help costs little and does nothing."""

import subprocess
import sys
from pathlib import Path

import pytest

import hailbox
from hailbox.cli import commands
from support.cli_program import command, environment, run

VERBS = commands.names()
GROUPS = [name for name in VERBS if hasattr(commands.load(name), "app")]


def test_without_arguments_it_prints_help_and_starts_nothing(tmp_path: Path) -> None:
    # No engine is where the environment says, so asking it for anything would fail.
    ended = run(tmp_path)
    assert ended.status == 0
    assert ended.err == ""
    for verb in VERBS:
        assert f"\n  {verb} " in ended.out
    assert list(tmp_path.iterdir()) == []


def test_every_command_is_there() -> None:
    assert set(VERBS) >= {"up", "down", "reset", "destroy", "status", "logs", "wait", "build", "compose", "env", "ls"}


@pytest.mark.parametrize("verb", sorted(set(VERBS).difference(GROUPS)))
def test_help_of_each_command_names_the_common_options(tmp_path: Path, verb: str) -> None:
    ended = run(tmp_path, verb, "--help")
    assert (ended.status, ended.err) == (0, "")
    for option in ("--stack", "--json", "--quiet", "--debug", "--help"):
        assert option in ended.out
    if verb in ("reset", "destroy"):
        assert "--dry-run" in ended.out
    assert list(tmp_path.iterdir()) == []


def test_profiles_are_listed_without_an_engine(tmp_path: Path) -> None:
    ended = run(tmp_path, "profiles", "--json")
    document = ended.document()
    assert (ended.status, document["stack"]) == (0, None)
    assert {"s3", "fs"} <= {profile["name"] for profile in document["data"]}


def test_version(tmp_path: Path) -> None:
    assert run(tmp_path, "--version").out == f"hailbox {hailbox.__version__}\n"


@pytest.mark.parametrize("arguments", [["--help"], ["up", "--help"], []], ids=["program", "command", "nothing"])
def test_help_imports_nothing_heavy(tmp_path: Path, arguments: list[str]) -> None:
    ended = subprocess.run(
        [sys.executable, "-X", "importtime", *command(*arguments)[1:]],
        cwd=tmp_path,
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        check=True,
    )
    imported = {line.rpartition("|")[2].strip() for line in ended.stderr.splitlines()}
    assert "typer" in imported
    heavy = {"docker", "requests", "aiohttp", "rich", "hailbox.engine.docker"}
    if arguments[:1] != ["up"]:  # a command's own help is in its file, which imports what the command works with
        heavy |= {"yaml", "tenacity", "asyncio", "hailbox.context", "hailbox.cli.commands.up"}
    assert not imported & heavy


@pytest.mark.parametrize("words", [["ls"], ["env"], ["logs"], ["exec", "cld-1", "true"]], ids=lambda words: words[0])
def test_commands_that_probe_nothing_do_not_load_the_probes(tmp_path: Path, words: list[str]) -> None:
    ended = subprocess.run(
        [sys.executable, "-X", "importtime", *command(*words)[1:]],
        cwd=tmp_path,
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        check=False,
    )
    imported = {line.rpartition("|")[2].strip() for line in ended.stderr.splitlines()}
    assert "docker" in imported
    assert not imported & {"hailbox.probe.watch", "asyncio", "aiohttp"}
