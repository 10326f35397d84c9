"""Programs of helpers: loaded as a container does it, by a bare Python; and what their containers are allowed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from hailbox.helper import kinds
from hailbox.helper.kinds import Kind
from hailbox.helper.program import command
from hailbox.helper.run import Work, described


def run(modules: tuple[str, ...], *arguments: str) -> subprocess.CompletedProcess[str]:
    words = command(modules, arguments)
    return subprocess.run([sys.executable, *words[1:]], capture_output=True, text=True, check=False, cwd="/")


@pytest.mark.parametrize("kind", kinds.ALL, ids=lambda kind: "+".join(kind.modules))
def test_every_program_loads_alone(kind: Kind) -> None:
    """Of the last module `main` is asked for, and nothing of the driver is there to import."""
    loaded = command(kind.modules, ())
    source = loaded[3].replace("sys.exit(module.main(sys.argv[count:]))", "print(callable(module.main))")
    ended = subprocess.run(
        [sys.executable, "-I", "-S", "-c", source, *loaded[4:]], capture_output=True, text=True, check=False, cwd="/"
    )
    assert ended.stdout == "True\n", ended.stderr


def test_what_main_returns_is_the_exit_status() -> None:
    until = json.dumps({"until": 1.0, "kind": "kill"})
    assert run(kinds.HOLD_PROCESS.modules, until).returncode == 0
    assert run(kinds.VOLUME_CHECK.modules).returncode != 0  # there is no /volume here


def test_a_saved_copy_has_its_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from hailbox.helper.programs import save

    source = tmp_path / "from" / "chunkd-1"
    source.mkdir(parents=True)
    (source / "a").write_bytes(bytes(1000))
    (source / "b").hardlink_to(source / "a")
    monkeypatch.setattr(save, "FROM", str(tmp_path / "from"))
    monkeypatch.setattr(save, "TO", str(tmp_path / "to"))
    (tmp_path / "to").mkdir()
    assert save.main([]) == 0
    assert (tmp_path / "to" / "chunkd-1" / "b").stat().st_ino == (tmp_path / "to" / "chunkd-1" / "a").stat().st_ino
    assert save.size(tmp_path / "to") == 1000


@pytest.mark.parametrize("kind", kinds.ALL, ids=lambda kind: "+".join(kind.modules))
def test_every_helper_is_bounded(kind: Kind) -> None:
    helper = described("a", Work(kind, "image", identifier="x" if kind.is_fault else ""))
    assert 0 < helper.pids <= 64
    assert 0 < helper.memory <= 2 << 30
    assert helper.restart_on_failure is kind.is_fault
