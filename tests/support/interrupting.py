"""Runs a command on an engine that does not answer, and interrupts it there."""

from __future__ import annotations

import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support.cli_program import command, environment


@contextmanager
def hanging_engine(directory: Path) -> Iterator[tuple[str, socket.socket]]:
    """A socket that takes connections and never answers."""
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(directory / "hanging.sock"))
        server.listen()
        server.settimeout(20)
        yield f"unix://{directory / 'hanging.sock'}", server


def interrupt(process: subprocess.Popen[str]) -> tuple[int, str, str, float]:
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


def start(directory: Path, address: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command(*arguments),
        cwd=directory,
        env=environment(directory, DOCKER_HOST=address),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
