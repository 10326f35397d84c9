"""Other people's surroundings: what is in the current directory, in the environment, or missing changes nothing."""

from __future__ import annotations

import json
import os
import pty
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from hailbox import surroundings
from hailbox.cli import output, progress
from hailbox.cli.progress import Live, Plain
from hailbox.engine import composecli
from hailbox.images import cache, wheels
from hailbox.model.errors import ComposeMissingError, ImageError, UsageError
from hailbox.model.progress import Phase, Progress
from support.cli_program import command, environment, run
from support.engine_server import EMPTY, engine, serve

MODULES = ("docker", "yaml", "typer", "requests", "tenacity", "logging", "haild", "subprocess")


@pytest.mark.parametrize("way", ["current directory", "PYTHONPATH=.", "PYTHONPATH=", "PYTHONPATH=DIR"])
def test_modules_of_the_user_do_not_stand_in_for_ours(tmp_path: Path, way: str) -> None:
    for name in MODULES:
        (tmp_path / f"{name}.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nraise SystemExit(99)\n")
    value = {"PYTHONPATH=.": ".", "PYTHONPATH=": os.pathsep, "PYTHONPATH=DIR": str(tmp_path)}.get(way)
    ended = run(tmp_path, "profiles", "--json", variables={} if value is None else {"PYTHONPATH": value})
    assert ended.status == 0
    ended = run(tmp_path, "ls", variables={} if value is None else {"PYTHONPATH": value})
    assert ended.error()[0] == "engine-unreachable"
    assert not (tmp_path / "ran").exists()


def test_pip_does_not_run_what_lies_about(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("logging", "pip", "urllib", "sitecustomize"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit(99)\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("PYTHONSTARTUP", str(tmp_path / "logging.py"))
    done = cache.run([*wheels.pip(), "--version"], tmp_path)
    assert (done.returncode, done.stdout[:4]) == (0, "pip ")


def test_programs_are_not_looked_for_in_the_current_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "docker"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    for path in (".", "", f":{os.defpath}", "bin/.."):
        monkeypatch.setenv("PATH", path)
        assert surroundings.which("docker") in (None, shutil.which("docker", path=os.defpath))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert surroundings.which("docker") == str(program)


COMPOSE = f"""#!{sys.executable}
import json, os, sys
if sys.argv[1:] == ["version", "--short"]:
    print("2.40.0")
json.dump([os.getcwd(), dict(os.environ), sys.argv], open(os.environ["HOME"] + "/asked", "w"))
"""


@pytest.fixture
def compose(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in for docker-compose that tells how it was started; the first that is looked for."""
    program = tmp_path / "docker-compose"
    program.write_text(COMPOSE)
    program.chmod(0o755)
    monkeypatch.setattr(composecli, "_candidates", lambda: [(str(program),)])
    monkeypatch.setenv("HOME", str(tmp_path))
    composecli.find.cache_clear()
    yield tmp_path / "asked"  # type: ignore[misc]
    composecli.find.cache_clear()


@pytest.mark.parametrize(
    "variable",
    [
        *("DOCKER_DEFAULT_PLATFORM", "DOCKER_BUILDKIT", "DOCKER_API_VERSION", "BUILDX_BUILDER", "BUILDKIT_HOST"),
        *("COMPOSE_FILE", "COMPOSE_PROJECT_NAME", "COMPOSE_PROFILES", "COMPOSE_REMOVE_ORPHANS", "COMPOSE_ENV_FILES"),
        *(
            "HTTP_PROXY",
            "https_proxy",
            "ALL_PROXY",
            "NO_PROXY",
            "PYTHONPATH",
            "PYTHONHOME",
            "LD_PRELOAD",
            "TABLED_KEY",
        ),
    ],
)
def test_no_variable_of_the_shell_reaches_compose(
    compose: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, "/other")
    composecli.run("p", "services: {}\n", ["up"], engine={"DOCKER_HOST": "unix:///x"})
    where, variables, arguments = json.loads(compose.read_text())
    assert where == "/"
    assert variable not in variables
    assert variables["DOCKER_HOST"] == "unix:///x"
    assert variables["COMPOSE_DISABLE_ENV_FILE"] == "1"
    assert arguments[-1] == "up"


@pytest.mark.parametrize("file", [".env", "compose.yaml", "docker-compose.yml", "compose.override.yaml"])
def test_compose_is_not_started_where_other_peoples_files_are(
    compose: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str
) -> None:
    (tmp_path / file).write_text("server.port 8080 = x")
    monkeypatch.chdir(tmp_path)
    composecli.find()
    assert json.loads(compose.read_text())[0] == "/"


@pytest.mark.parametrize(
    "content",
    [b"Not Found", b"#!/opt/python2.7/bin/python\nprint 1\n", b"\x7fELF\x02\x01\x01", b"", b"#!/bin/sh\nexit 1"],
)
def test_a_compose_that_is_no_program_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    program = tmp_path / "docker-compose"
    program.write_bytes(content)
    program.chmod(0o755)
    monkeypatch.setattr(composecli, "_candidates", lambda: [(str(program),)])
    composecli.find.cache_clear()
    with pytest.raises(ComposeMissingError):
        composecli.find()
    composecli.find.cache_clear()


def test_a_current_directory_that_is_gone_does_not_matter(tmp_path: Path) -> None:
    with serve(tmp_path, engine(EMPTY)) as address:
        script = 'mkdir gone && cd gone && rmdir ../gone && exec "$@"'
        ended = subprocess.run(
            ["/bin/sh", "-c", script, "sh", *command("ls")],
            cwd=tmp_path,
            env=environment(tmp_path, DOCKER_HOST=address),
            capture_output=True,
            text=True,
            check=False,
        )
    assert (ended.returncode, ended.stderr) == (0, "")


@pytest.mark.parametrize(
    ("redirection", "words", "status"),
    [
        ("<&-", ["profiles"], 0),
        ("2>&-", ["profiles"], 0),
        (">&-", ["profiles"], 3),
        (">&-", ["profiles", "--json"], 3),
        (">&-", ["--help"], 3),
        (">&-", ["up", "--help"], None),
        (">/dev/full", ["--help"], 3),
        (">/dev/full", ["--version"], 3),
        ("<&- >&- 2>&-", ["ls"], 3),
        ("<&- 2>&-", ["exec", "cld-1", "true"], 3),
    ],
)
def test_standard_streams_that_are_closed_or_full(
    tmp_path: Path, redirection: str, words: list[str], status: int | None
) -> None:
    if "full" in redirection and not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    ended = subprocess.run(
        ["/bin/sh", "-c", f'exec "$@" {redirection}', "sh", *command(*words)],
        cwd=tmp_path,
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" not in ended.stderr
    assert "Exception ignored" not in ended.stderr
    assert ended.returncode != 70
    assert status is None or ended.returncode == status


@pytest.mark.parametrize("words", [["--help"], ["up", "--help"], ["profiles"], ["profiles", "--json"]], ids=" ".join)
def test_a_reader_that_goes_is_no_error(tmp_path: Path, words: list[str]) -> None:
    ended = subprocess.run(
        ["/bin/sh", "-c", '"$@" | true', "sh", *command(*words)],
        cwd=tmp_path,
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.stderr == ""


@pytest.mark.parametrize("locale", ["C", "POSIX"])
def test_json_is_utf_8_whatever_the_locale(
    tmp_path: Path, locale: str, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    program = (
        "import sys; from hailbox.cli import output; "
        "output.result(output.Invocation('x', json=True), {'name': 'Zo\\xeb \\u20ac \\U0001f600 \\udce9'}, None)"
    )
    variables = {"LC_ALL": locale, "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": "ascii"}
    ended = subprocess.run(
        [sys.executable, "-c", program], env=environment(tmp_path, **variables), capture_output=True, check=True
    )
    assert json.loads(ended.stdout.decode("utf-8"))["data"]["name"] == "Zoë € \U0001f600 \udce9"


@pytest.mark.parametrize(
    ("hidden", "seen"),
    [
        ("\x1b[2J", "\\x1b[2J"),
        ("\x9b31m", "\\x9b31m"),
        ("a\rb", "a\\rb"),
        ("\u202etxt.exe", "\\u202etxt.exe"),
        ("\u2066x\u2069", "\\u2066x\\u2069"),
        ("\x07\x7f\x00", "\\x07\\x7f\\x00"),
        ("\u200f\ufeff", "\\u200f\\ufeff"),
        ("tab\tand\nline, Zoë, 名前, \U0001f600", "tab\tand\nline, Zoë, 名前, \U0001f600"),
    ],
)
def test_nothing_that_a_terminal_obeys_reaches_it(hidden: str, seen: str, capsys: pytest.CaptureFixture[str]) -> None:
    output.write(hidden)
    output.error(output.Invocation("x"), UsageError(hidden, hidden))
    shown = capsys.readouterr()
    assert shown.out == f"{seen}\n"
    assert seen in shown.err
    assert seen.split("\n")[0] in progress.line(Progress("x", Phase.WAITING, 0.0, hidden))


@pytest.mark.parametrize(("term", "live"), [("xterm", True), ("dumb", False), (None, False)])
def test_a_terminal_without_sequences_gets_plain_lines(
    monkeypatch: pytest.MonkeyPatch, term: str | None, live: bool
) -> None:
    _controller, terminal = pty.openpty()
    monkeypatch.setattr(sys, "stderr", os.fdopen(terminal, "w"))
    if term is None:
        monkeypatch.delenv("TERM", raising=False)
    else:
        monkeypatch.setenv("TERM", term)
    assert type(progress.choose(silent=False)) is (Live if live else Plain)


@pytest.mark.parametrize(("columns", "rows", "live"), [(10, 40, False), (30, 40, True), (30, 2, True)])
def test_progress_fits_the_terminal_that_it_goes_to(
    monkeypatch: pytest.MonkeyPatch, columns: int, rows: int, live: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "_size", lambda: (columns, rows))
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    reporter = progress.choose(silent=False)
    assert type(reporter) is (Live if live else Plain)
    for name in ("cld-1", "chunkd-1", "tabled-1"):
        reporter.report(Progress(name, Phase.WAITING, 1.0, "for something that takes long to say"))
    if live:
        shown = capsys.readouterr().err
        assert all(len(part.partition("\x1b[2K")[2] or part) < columns for part in shown.split("\n"))
        assert ("F\x1b[2K" in shown) is (rows > 3)  # what has scrolled away is not rewritten


def test_without_a_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(surroundings, "home", lambda: None)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    with pytest.raises(ImageError, match="no cache directory"):
        cache.directory()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache.directory() == tmp_path / "hailbox"


def test_temporary_files_are_never_made_in_the_current_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TMPDIR", ".")
    assert surroundings.temporary_directory() != tmp_path
    with surroundings.text_file("a\n") as text:
        assert text.read() == "a\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "words", [("--stack", "", "ls"), ("ls", "--stack", ""), ("--stack=", "destroy", "--dry-run")]
)
def test_an_empty_name_is_not_the_default_stack(tmp_path: Path, words: tuple[str, ...]) -> None:
    ended = run(tmp_path, *words)
    assert (ended.status, ended.error()[0]) == (2, "bad-usage")
    assert "--stack is given, but empty" in ended.err


def test_an_empty_variable_is_not_the_default_stack(tmp_path: Path) -> None:
    ended = run(tmp_path, "destroy", "--dry-run", variables={"HAILBOX_STACK": ""})
    assert (ended.status, ended.error()[0]) == (2, "bad-usage")
    assert "HAILBOX_STACK" in ended.err
