"""Ctrl-C leaves within a second, says how things are, and no second one is needed."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hailbox.cli import envelope
from hailbox.model.errors import InterruptionError
from support.cli_program import environment
from support.engine_server import EMPTY, engine, serve
from support.interrupting import interrupt, interrupted, start


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
    words = ["hailbox", "up", *(["--json"] if as_json else [])]
    program = f"import runpy, sys; sys.path.insert(0, {str(library.parent)!r}); sys.argv = {words!r}\n"
    program += "runpy.run_module('hailbox', run_name='__main__')"
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        env=environment(tmp_path),
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


REPORTS_AFTERWARDS = """
import os, sys
from hailbox.cli import interruption
from hailbox.cli.output import Invocation

def end(status):
    for stream in (sys.stderr, sys.stdout):
        print("progress", file=stream, flush=True)
    leave(status)

leave, os._exit = os._exit, end
interruption.explain(Invocation("reset", stack="x", changes=True))
os.kill(os.getpid(), 2)
"""


def test_what_it_says_is_the_last() -> None:
    """Another thread may report progress between the last words and the end."""
    done = subprocess.run([sys.executable, "-c", REPORTS_AFTERWARDS], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (130, "")
    first, second = done.stderr.splitlines()
    assert first.endswith("[interrupted]")
    assert second.startswith("  → finish with: ")
