"""Refusals of a data directory, by the exit status that the driver reads."""

import errno
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from haild.daemon import errors
from haild.daemon.datadir import hold
from haild.daemon.errors import InUseError, StartError, refusal


def test_a_directory_has_one_holder(tmp_path: Path) -> None:
    held = hold(tmp_path, "cld")
    with pytest.raises(InUseError, match="in use by another cld"):
        hold(tmp_path, "cld")
    os.close(held)
    os.close(hold(tmp_path, "cld"))


def test_a_directory_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(StartError, match="No such file or directory") as raised:
        hold(tmp_path / "none", "cld")
    assert raised.value.exit_status == 1


def _sqlite_error(code: int) -> sqlite3.Error:
    error = sqlite3.OperationalError("text")
    error.sqlite_errorcode = code
    return error


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (_sqlite_error(sqlite3.SQLITE_CORRUPT), 65),
        (_sqlite_error(sqlite3.SQLITE_NOTADB), 65),
        (_sqlite_error(sqlite3.SQLITE_CORRUPT | 1 << 8), 65),
        (_sqlite_error(sqlite3.SQLITE_FULL), 74),
        (_sqlite_error(sqlite3.SQLITE_READONLY), 74),
        (_sqlite_error(sqlite3.SQLITE_IOERR | 3 << 8), 74),
        (_sqlite_error(sqlite3.SQLITE_CANTOPEN), 74),
        (_sqlite_error(sqlite3.SQLITE_BUSY), 75),
        (_sqlite_error(sqlite3.SQLITE_ERROR), 1),
        (OSError(errno.ENOSPC, "no space"), 74),
        (OSError(errno.EROFS, "read-only"), 74),
        (OSError(errno.EACCES, "permission denied"), 74),
        (OSError(errno.ENOENT, "no such file"), 1),
    ],
)
def test_the_exit_status_says_what_is_wrong(error: sqlite3.Error | OSError, status: int) -> None:
    refused = refusal("/data", error)
    assert refused.exit_status == status
    assert str(refused).startswith("/data: ")


@pytest.mark.parametrize("daemon", ["cld", "chunkd", "iwhd"])
def test_a_daemon_whose_data_another_process_has_exits_with_75(daemon: str, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    command = {
        "cld": ["-F", "-E", "-d", str(data), "-p", "auto", "-P", str(tmp_path / "pid")],
        "chunkd": ["-F", "-E", "-C", str(tmp_path / "conf"), "-P", str(tmp_path / "pid")],
        "iwhd": ["-c", str(tmp_path / "conf.json"), "-d", f"{data}/", "-p", "1"],
    }[daemon]
    if daemon == "chunkd":
        (tmp_path / "conf").write_text(
            f"<Listen><Port>auto</Port></Listen><Path>{data}</Path><InfoPath>/x/1</InfoPath>"
        )
    (tmp_path / "conf.json").write_text(f'[{{"name": "p", "type": "fs", "path": "{tmp_path}"}}]')
    held = hold(data, daemon)
    try:
        done = subprocess.run([sys.executable, "-m", f"haild.{daemon}", *command], capture_output=True, timeout=30)
    finally:
        os.close(held)
    assert done.returncode == errors.EXIT_IN_USE, done.stderr
    assert f"in use by another {daemon}".encode() in done.stderr
