"""What the set-up scripts share: a line per step with its time, running programs, packages of the distribution."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
VENV_PYTHON = VENV / "bin" / "python"


class SetupError(Exception):
    """The set-up cannot go on; the message is one line and says what to do."""


@contextmanager
def step(name: str, doing: str) -> Iterator[Callable[[str], None]]:
    """Say on standard output what a step did, and how long it took in seconds.

    `doing` is what is said if the step says nothing else through the function it is given.
    """
    started = time.monotonic()
    said = [doing]
    yield lambda text: said.__setitem__(0, text)
    print(f"{name}: {said[0]} ({time.monotonic() - started:.1f} s)", flush=True)


def run(command: Sequence[str | Path], *, environment: Mapping[str, str] | None = None) -> None:
    """Run a program quietly from the root of the repository. Raises SetupError, after the end of its output."""
    done = subprocess.run(
        [str(word) for word in command],
        cwd=ROOT,
        env={**os.environ, **(environment or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode != 0:
        sys.stderr.write("\n".join(done.stdout.splitlines()[-25:]) + "\n")
        shown = " ".join(str(word) for word in command)
        raise SetupError(f"`{shown}` ended with status {done.returncode}; its last lines are above")


def is_root() -> bool:
    """Whether packages of the distribution can be installed."""
    return os.geteuid() == 0


def install_packages(packages: Sequence[str], purpose: str) -> None:
    """Install packages of Debian or Ubuntu, without recommended ones. Raises SetupError where that cannot be."""
    names = " ".join(packages)
    if not shutil.which("apt-get"):
        raise SetupError(f"{purpose}: this is no Debian or Ubuntu; install what corresponds to: {names}")
    if not is_root():
        raise SetupError(f"{purpose}: run `sudo apt-get install --no-install-recommends {names}`, then this again")
    quiet = {"DEBIAN_FRONTEND": "noninteractive"}
    install = ["apt-get", "install", "-y", "-q", "--no-install-recommends", *packages]
    # A fresh machine has no package lists, an old one stale ones; an update takes seconds, so only where it helps.
    known = subprocess.run(install, env={**os.environ, **quiet}, capture_output=True, check=False)
    if known.returncode != 0:
        run(["apt-get", "update", "-q"], environment=quiet)
        run(install, environment=quiet)


def main(body: Callable[[], None]) -> None:
    """Run a script; a SetupError is one line on standard error and exit status 1."""
    try:
        body()
    except SetupError as error:
        sys.stderr.write(f"{Path(sys.argv[0]).stem}: {error}\n")
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
