"""The set-up: an engine that answers is left alone, one that cannot be had is one line, results are counted."""

from __future__ import annotations

import os
import socketserver
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"
sys.path.append(str(SCRIPTS))

import checks  # noqa: E402
import engine  # noqa: E402
import environment  # noqa: E402


class Ping(BaseHTTPRequestHandler):
    """Answers as the engine does to its ping."""

    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/_ping" else 404)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def address_string(self) -> str:
        return "unix"

    def log_message(self, format: str, *arguments: object) -> None:
        return


@pytest.fixture
def pinged(tmp_path: Path) -> Iterator[str]:
    """The address of something that answers like an engine."""
    with socketserver.ThreadingUnixStreamServer(str(tmp_path / "engine.sock"), Ping) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"unix://{tmp_path / 'engine.sock'}"
        server.shutdown()
        thread.join(10)


def run(script: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a script with nothing on the path that it could install or start something with."""
    command = [sys.executable, str(SCRIPTS / script)]
    return subprocess.run(
        command, env={"PATH": "/nonexistent", **environment}, capture_output=True, text=True, timeout=60
    )


def test_an_engine_that_answers_is_left_alone(pinged: str) -> None:
    done = run("engine.py", DOCKER_HOST=pinged)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("engine: answers (")


@pytest.mark.parametrize("host", ["unix:///nonexistent/engine.sock", "tcp://127.0.0.1:1"])
def test_a_chosen_engine_that_is_not_there_is_named_in_one_line(host: str) -> None:
    done = run("engine.py", DOCKER_HOST=host)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.count("\n") == 1
    assert host in done.stderr
    assert "unset DOCKER_HOST" in done.stderr


def test_without_root_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    monkeypatch.setattr(engine, "is_root", lambda: False)
    monkeypatch.setattr("shutil.which", lambda program: f"/usr/bin/{program}")
    with pytest.raises(engine.SetupError, match=r"sudo apt-get install .*docker.io iptables mmdebstrap") as caught:
        engine.check_may_install()
    assert "\n" not in str(caught.value)


def test_a_pid_file_counts_only_while_its_own_program_lives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alive = Path(f"/proc/{os.getpid()}/comm").read_text().strip()
    own, other, dead, broken = (tmp_path / name for name in ("own", "other", "dead", "broken"))
    own.write_text(str(os.getpid()))
    other.write_text(str(os.getpid()))
    with subprocess.Popen(["true"]) as ended:
        ended.wait()
    dead.write_text(str(ended.pid))
    broken.write_text("")
    files = {alive: own, "dockerd": other, "containerd": dead, "docker-proxy": broken}
    monkeypatch.setattr(engine, "PID_FILES", files)
    assert not engine._clear_remains()
    assert [file.name for file in (own, other, dead, broken) if file.exists()] == ["own"]


def test_a_process_that_nobody_reaped_is_dead(tmp_path: Path) -> None:
    process = subprocess.Popen(["true"])
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    (tmp_path / "pid").write_text(str(process.pid))
    assert engine._program(tmp_path / "pid") is None
    process.wait()


def test_results_are_counted_by_folder_and_errors_fail(tmp_path: Path) -> None:
    report = tmp_path / "report.xml"
    report.write_text(
        """<testsuites><testsuite>
        <testcase classname="tests.driver.test_a" name="test_1"/>
        <testcase classname="tests.driver.test_a.TestX" name="test_2"><failure message="no"/></testcase>
        <testcase classname="tests.driver.test_b" name="test_3"><error message="in a fixture"/></testcase>
        <testcase classname="tests.stack.test_c" name="test_4"><skipped message="why"/></testcase>
        <testcase classname="" name="tests.wire.test_d"><error message="collection failure"/></testcase>
        </testsuite></testsuites>"""
    )
    counted = {folder: checks.line(counter) for folder, counter in checks.count(report).items()}
    assert counted == {
        "tests/driver": "1 passed, 2 failed, 0 skipped",
        "tests/stack": "0 passed, 0 failed, 1 skipped",
        "tests/wire": "0 passed, 1 failed, 0 skipped",
    }


def test_a_missing_report_counts_nothing(tmp_path: Path) -> None:
    assert checks.count(tmp_path / "none.xml") == {}


def test_an_interrupted_installation_is_not_usable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "VENV_PYTHON", Path(sys.executable))
    monkeypatch.setattr(environment, "INSTALLING", tmp_path / "installing")
    assert environment.usable()
    (tmp_path / "installing").touch()
    assert not environment.usable()
    (tmp_path / "installing").unlink()
    monkeypatch.setattr(environment, "VENV_PYTHON", tmp_path / "no-python")
    assert not environment.usable()
