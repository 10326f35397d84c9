"""Completion knows what the program knows, and asks the engine for the rest."""

import json
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
import typer

from hailbox.cli import commands as program
from hailbox.cli.app import app
from hailbox.completion import commands
from hailbox.completion.complete import complete
from hailbox.completion.scripts import SCRIPTS
from hailbox.model import names

STACK = "of-a-test"


def group() -> Any:
    return typer.main.get_command(app)


def long_options(command: Any) -> set[str]:
    return {word for parameter in command.params for word in parameter.opts if word.startswith("--")}


def test_all_commands_are_found() -> None:
    assert commands.commands() == sorted(program.names())


@pytest.mark.parametrize("name", program.names())
def test_all_options_and_subcommands_of_a_command_are_found(name: str) -> None:
    found = group().get_command(None, name)
    below = getattr(found, "commands", {})
    assert commands.subcommands(name) == sorted(below)
    wanted = {option for each in below.values() or [found] for option in long_options(each)}
    assert wanted <= set(commands.options(name)), "options that would not be completed"
    if not below:
        assert set(commands.options(name)) <= wanted | {"--file", "--help"}


class Engine:
    """Answers as an engine with one stack does."""

    def __init__(self, path: Path) -> None:
        self.asked: list[str] = []
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(str(path))
        self._socket.listen()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with connection:
                target = connection.recv(4096).decode().split()[1]
                self.asked.append(unquote(target))
                body = json.dumps(self._volumes() if target.startswith("/volumes") else self._containers())
                connection.sendall(f"HTTP/1.0 200 OK\r\n\r\n{body}".encode())

    def _containers(self) -> list[dict[str, Any]]:
        replicas = [("cld", "cld-1"), ("chunkd", "chunkd-1"), ("chunkd", "chunkd-2"), ("credentials", "credentials")]
        services = [
            {"Names": [f"/hailbox-{STACK}-{replica}"], "Labels": {names.SERVICE: service, names.REPLICA: replica}}
            for service, replica in replicas
        ]
        fault = {"Names": [f"/hailbox-{STACK}-fault-kill-cld-1"], "Labels": {names.HELPER: names.FAULT}}
        found: list[dict[str, Any]] = [*services, fault]
        for each in found:
            each["Labels"][names.STACK] = STACK
        return found

    def _volumes(self) -> dict[str, Any]:
        sealed = {names.STACK: STACK, names.KIND: names.SEAL, names.SNAPSHOT_NAME: "before"}
        return {"Volumes": [{"Labels": sealed}, {"Labels": sealed | {names.KIND: names.SNAPSHOT}}, {"Labels": None}]}

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    made = Engine(tmp_path / "engine.sock")
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/engine.sock")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HAILBOX_STACK", raising=False)
    yield made
    made.close()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["res"], ["reset", "restart"]),
        (["reset", "--q"], ["--quick", "--quiet"]),
        (["reset", ""], ["chunkd", "chunkd-1", "chunkd-2", "cld", "cld-1"]),
        (["logs", "cld-1", "chunkd-"], ["chunkd-1", "chunkd-2"]),
        (["reset", "--to", ""], ["before"]),
        (["snapshot", "re"], ["restore"]),
        (["snapshot", "restore", ""], ["before"]),
        (["--stack", ""], [STACK]),
        (["up", "--profile", "s"], ["s3", "second-site", "standby"]),
        (["fault", "fill"], ["fill-disk"]),
        (["fault", "kill", "cld"], ["cld", "cld-1"]),
        (["fault", "kill", "cld-1", "--for", ""], []),
        (["--stack", STACK, "fault", "clear", "kill"], ["kill-cld-1"]),
        (["wait", "--for", "cld"], ["cld", "cld-1"]),
        (["no-such-command", ""], []),
    ],
)
def test_what_may_follow(engine: Engine, words: list[str], expected: list[str]) -> None:
    assert complete(words) == expected


def test_the_stack_in_force_is_asked_for(engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "hailbox.yaml").write_text("# ours\nstack: of-the-file\n")
    complete(["logs", ""])
    monkeypatch.setenv("HAILBOX_STACK", "of-the-environment")
    complete(["logs", ""])
    complete(["--stack", "of-the-line", "logs", ""])
    assert [asked.rpartition("=")[2].rstrip('"]}') for asked in engine.asked] == [
        "of-the-file",
        "of-the-environment",
        "of-the-line",
    ]


def test_without_an_engine_there_is_nothing_to_choose_and_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/engine.sock")
    done = subprocess.run(
        [sys.executable, "-m", "hailbox", "__complete", "logs", ""], capture_output=True, text=True, check=True
    )
    assert (done.stdout, done.stderr) == ("", "")


def test_neither_typer_nor_the_engine_s_package_is_loaded() -> None:
    program = (
        "import sys; from hailbox.completion.complete import complete; complete(['logs', '']); print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert {"typer", "docker", "asyncio", "yaml", "requests"}.isdisjoint(done.stdout.split())


@pytest.mark.parametrize("shell", sorted(SCRIPTS))
def test_a_shell_completes_with_its_script(shell: str, engine: Engine, tmp_path: Path) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed here")
    program = tmp_path / "hailbox"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m hailbox "$@"\n')
    program.chmod(0o755)
    script = {
        "bash": 'eval "$(hailbox completion bash)"; COMP_WORDS=(hailbox logs chu); COMP_CWORD=2; _hailbox; '
        'printf "%s\\n" "${COMPREPLY[@]}"',
        "fish": 'hailbox completion fish | source; complete -C "hailbox logs chu"',
        # compadd works only while a line is edited; what it would be given is in `found`.
        "zsh": 'compdef() { }; compadd() { print -l $found }; eval "$(hailbox completion zsh)"; '
        "words=(hailbox logs chu); CURRENT=3; _hailbox",
    }[shell]
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "HOME": str(tmp_path)}
    environment["DOCKER_HOST"] = f"unix://{tmp_path}/engine.sock"
    done = subprocess.run([shell, "-c", script], capture_output=True, text=True, env=environment, cwd=tmp_path)
    assert done.stdout.split() == ["chunkd", "chunkd-1", "chunkd-2"], done.stderr
