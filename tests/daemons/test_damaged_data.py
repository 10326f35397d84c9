"""A daemon whose data is damaged says so and ends with the status by which the driver knows it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

DAMAGED = 65


def run(*words: str, cwd: Path, seconds: float) -> subprocess.CompletedProcess[str]:
    """Run a daemon; it is ended in an orderly way after some seconds if it serves."""
    with subprocess.Popen(
        [sys.executable, "-m", *words], cwd=cwd, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    ) as process:
        try:
            _, said = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            process.terminate()
            _, said = process.communicate()
    return subprocess.CompletedProcess(process.args, process.returncode, "", said)


def noise(folder: Path) -> None:
    """Make noise of every SQLite database below the folder."""
    databases = [p for p in folder.rglob("*") if p.is_file() and p.read_bytes()[:15] == b"SQLite format 3"]
    assert databases
    for path in databases:
        path.write_bytes(os.urandom(5000))


CHUNKD = "<PID>pid</PID><Listen><Port>auto</Port></Listen><Path>data</Path><InfoPath>/chunk-default/1</InfoPath>"
COMMANDS = {
    "cld": ("haild.cld", "-F", "-E", "-d", "data", "-p", "auto"),
    "chunkd": ("haild.chunkd", "-F", "-E", "-C", "chunkd.conf"),
    "iwhd": ("haild.iwhd", "-c", "iwhd.json", "-d", "data/_db", "-p", "0"),
}


@pytest.mark.parametrize("daemon", sorted(COMMANDS))
def test_noise_in_place_of_the_database(daemon: str, tmp_path: Path, unused_tcp_port: int) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (tmp_path / "chunkd.conf").write_text(CHUNKD)
    (tmp_path / "iwhd.json").write_text('[{"name": "p", "type": "fs", "path": "data"}]')
    command = [str(unused_tcp_port) if word == "0" else word for word in COMMANDS[daemon]]
    first = run(*command, cwd=tmp_path, seconds=2.0)
    assert first.returncode == 0, first.stderr
    noise(data)
    second = run(*command, cwd=tmp_path, seconds=10)
    assert second.returncode == DAMAGED
    assert "not a database" in second.stderr


def test_tabled(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    cld = "<CLD><Host>127.0.0.1</Host><Port>1</Port></CLD>"
    text = f"<PID>pid</PID><Listen><Port>auto</Port></Listen><TDB>data</TDB>{cld}"
    (tmp_path / "tabled.conf").write_text(text)
    users = subprocess.run(
        [sys.executable, "-m", "haild.tabled.tdbadm", "-C", "tabled.conf", "-u"],
        cwd=tmp_path,
        input="u\tp\n",
        text=True,
    )
    assert users.returncode == 0
    noise(tmp_path / "data")
    ended = run("haild.tabled", "-F", "-E", "-C", "tabled.conf", cwd=tmp_path, seconds=10)
    assert ended.returncode == DAMAGED
    assert "not a database" in ended.stderr
