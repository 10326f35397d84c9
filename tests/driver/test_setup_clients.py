"""The set-up of the clients that tests drive: what is missing is said in one line, and is no error."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[2] / "scripts"))

import clients
import steps


def test_present_clients_are_left_alone(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("shutil.which", lambda program: f"/usr/bin/{program}")
    monkeypatch.setattr(clients, "install_packages", lambda packages, purpose: pytest.fail(f"installed {packages}"))
    clients.install_distribution()
    *first, last = clients.PACKAGES
    assert capsys.readouterr().out.startswith(f"clients: {', '.join(first)} and {last} present (")


def test_only_what_is_missing_is_installed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    installed: list[str] = []
    monkeypatch.setattr("shutil.which", lambda program: None if program == "rclone" else f"/usr/bin/{program}")
    monkeypatch.setattr(clients, "install_packages", lambda packages, purpose: installed.extend(packages))
    clients.install_distribution()
    assert installed == ["rclone"]
    assert capsys.readouterr().out.startswith("clients: installed rclone (")


def test_without_fuse_there_is_no_s3fs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    installed: list[str] = []
    monkeypatch.setattr("shutil.which", lambda program: None)
    monkeypatch.setattr(clients, "FUSE", str(tmp_path / "fuse"))
    monkeypatch.setattr(clients, "install_packages", lambda packages, purpose: installed.extend(packages))
    clients.install_distribution()
    assert installed == [name for program, names in clients.PACKAGES.items() if program != "s3fs" for name in names]
    said = capsys.readouterr().out
    assert said.count("\n") == 1
    assert f"tests of s3fs will be skipped; {tmp_path / 'fuse'}: No such file or directory" in said


def test_without_root_one_line_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(steps, "is_root", lambda: False)
    monkeypatch.setattr("shutil.which", lambda program: None if program == "s3cmd" else f"/usr/bin/{program}")
    clients.install_distribution()
    said = capsys.readouterr().out
    assert said.count("\n") == 1
    assert "tests of s3cmd will be skipped; " in said
    assert "sudo apt-get install --no-install-recommends s3cmd`" in said
