"""Ctrl-C leaves within a second, says how things are, and no second one is needed."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cli_program import command, environment
from engine_server import EMPTY, engine, serve

from hailbox.cli import envelope
from hailbox.model.errors import InterruptionError


@contextmanager
def hanging_engine(directory: Path) -> Iterator[tuple[str, socket.socket]]:
    """A socket that takes connections and never answers."""
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(directory / "hanging.sock"))
        server.listen()
        server.settimeout(20)
        yield f"unix://{directory / 'hanging.sock'}", server


def interrupt(process: "subprocess.Popen[str]") -> tuple[int, str, str, float]:
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    return process.returncode, out, err, time.monotonic() - began


def interrupted(directory: Path, *arguments: str) -> tuple[int, str, str]:
    """Run a command on an engine that does not answer and interrupt it there; status, output and errors."""
    with hanging_engine(directory) as (address, server):
        process = start(directory, address, *arguments)
        connection, _ = server.accept()
        with connection:
            connection.settimeout(20)
            assert connection.recv(16)
            status, out, err, seconds = interrupt(process)
    assert seconds < 1
    return status, out, err


def start(directory: Path, address: str, *arguments: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        command(*arguments),
        cwd=directory,
        env=environment(directory, DOCKER_HOST=address),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_while_it_waits_for_a_stack(tmp_path: Path) -> None:
    with serve(tmp_path, engine(EMPTY)) as address:
        process = start(tmp_path, address, "wait", "--stack", "x", "--timeout", "60")
        assert process.stderr is not None
        assert "waiting" in process.stderr.readline()
        status, out, err, seconds = interrupt(process)
    assert (status, out) == (130, "")
    assert seconds < 1
    assert "wait was interrupted; no stack was changed" in err


def test_as_json_it_is_one_object(tmp_path: Path) -> None:
    status, out, err = interrupted(tmp_path, "destroy", "--stack", "x", "--json")
    document = json.loads(out)
    assert (status, err) == (130, "")
    assert (document["command"], document["stack"], document["exit_code"]) == ("destroy", "x", 130)
    assert [error["code"] for error in document["errors"]] == ["interrupted"]


@pytest.mark.parametrize("as_json", [False, True])
def test_while_it_still_loads(tmp_path: Path, as_json: bool) -> None:
    """A library that takes its time to load stands for a slow disk."""
    library, loading = tmp_path / "library" / "typer", tmp_path / "loading"
    library.mkdir(parents=True)
    library.joinpath("__init__.py").write_text(
        f"import pathlib, time\npathlib.Path({str(loading)!r}).touch()\ntime.sleep(60)\n"
    )
    inherited = os.environ.get("PYTHONPATH", "")
    process = subprocess.Popen(
        command("up", *(["--json"] if as_json else [])),
        env=environment(tmp_path, PYTHONPATH=f"{library.parent}{os.pathsep}{inherited}"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 20
    while not loading.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    status, out, err, seconds = interrupt(process)
    assert status == 130
    assert seconds < 1
    if as_json:
        problem = "hailbox was interrupted before it began; no stack was changed"
        said = envelope.envelope(None, None, None, [InterruptionError(problem, "run it again")])
        assert (out, err) == (envelope.text(said) + "\n", "")
    else:
        first, second = err.splitlines()
        assert first == "hailbox: hailbox was interrupted before it began; no stack was changed [interrupted]"
        assert second == "  → run it again"
        assert out == ""


def test_the_handler_is_there_before_anything_is_loaded() -> None:
    """Until then Ctrl-C shows a traceback; `signal` or `typing` alone would double the time until it is there."""
    look = (
        "import os, sys, _signal; before = set(sys.modules); import hailbox.__main__; "
        "print(*sorted(set(sys.modules) - before), _signal.getsignal(_signal.SIGINT).__name__)"
    )
    done = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["hailbox", "hailbox.__main__", "_leave"]
