"""Ways to another machine's ports: an ssh that is a stand-in and fails in all ways that ssh does."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from hailbox.engine.docker.tunnel import Tunnel
from hailbox.model.errors import EngineUnreachableError, PortTakenError


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the stand-in is written; it is found before the real ssh."""
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return tmp_path


def stand_in(folder: Path, text: str) -> None:
    (folder / "ssh").write_text(f'#!/bin/sh\necho "$@" >>{folder}/asked\n{text}\n')
    (folder / "ssh").chmod(0o755)


@pytest.fixture
def tunnel() -> Iterator[Tunnel]:
    made = Tunnel("ssh://me@far.example:2222")
    yield made
    made.close()


def test_ways_are_opened_once(folder: Path, tunnel: Tunnel) -> None:
    stand_in(folder, "echo open; exec cat >/dev/null")
    first = tunnel.reach([7001, 7002])
    assert set(first) == {7001, 7002}
    assert tunnel.reach([7002]) == {7002: first[7002]}
    (asked,) = (folder / "asked").read_text().splitlines()
    for port, ours in first.items():
        assert f"-L 127.0.0.1:{ours}:127.0.0.1:{port}" in asked
    assert "-p 2222 -- me@far.example " in asked


def test_a_way_that_was_lost_is_opened_again(folder: Path, tunnel: Tunnel) -> None:
    stand_in(folder, "echo open; read line")
    tunnel.reach([7001])
    tunnel._programs[0].kill()
    tunnel.await_end()
    tunnel.reach([7001])
    assert len((folder / "asked").read_text().splitlines()) == 2


def test_what_ssh_says_is_told(folder: Path, tunnel: Tunnel) -> None:
    stand_in(folder, "echo 'Permission denied (publickey).' >&2; exit 255")
    with pytest.raises(EngineUnreachableError) as caught:
        tunnel.reach([7001])
    assert "Permission denied (publickey)." in caught.value.problem
    assert caught.value.remedy == "see what this says: ssh -p 2222 -- me@far.example true"


def test_a_banner_comes_before_the_answer(folder: Path, tunnel: Tunnel) -> None:
    stand_in(folder, "echo Welcome; sleep 0.05; printf 'op'; sleep 0.05; printf 'en\\n'; exec cat >/dev/null")
    assert tunnel.reach([7001])


def test_the_same_port_that_is_held_here(folder: Path, tunnel: Tunnel) -> None:
    stand_in(folder, "echo 'bind: Address already in use' >&2; exit 255")
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen(1)
        port = holder.getsockname()[1]
        with pytest.raises(PortTakenError) as caught:
            tunnel.reach([port], same=True)
    assert f"port {port} of this machine" in caught.value.problem
    assert len((folder / "asked").read_text().splitlines()) == 1


def test_ssh_ends_with_us(folder: Path) -> None:
    """Whatever ends us closes the pipe that the other side reads."""
    stand_in(folder, f"echo open; cat >/dev/null; touch {folder}/over")
    made = Tunnel("ssh://far.example")
    made.reach([7001])
    (program,) = made._programs
    assert program.stdin is not None
    program.stdin.close()
    assert program.wait(timeout=20) == 0
    assert (folder / "over").exists()
