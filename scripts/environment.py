"""Make the virtual environment `.venv` with the locked dependencies and hailbox itself, editable.

Needs only Python 3.11 or later. Does nothing where the locks and pyproject.toml are the ones installed last.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

from steps import ROOT, VENV, VENV_PYTHON, SetupError, install_packages, main, run, step

LOCK = ROOT / "requirements" / "dev.lock"
INSTALLED = VENV / "hailbox-installed"
"""Holds the key of what was installed; written last, removed first, so an interrupted installation is noticed."""
INSTALLING = VENV / "hailbox-installing"


def key() -> str:
    """Name what has to be installed: a hash over the lock, the project's description and the interpreter."""
    digest = hashlib.sha256()
    for part in (LOCK.read_bytes(), (ROOT / "pyproject.toml").read_bytes(), str(ROOT).encode()):
        digest.update(hashlib.sha256(part).digest())
    return digest.hexdigest()


def usable() -> bool:
    """Whether the environment has a Python that starts, is new enough and has pip, and no pip died in it."""
    if not VENV_PYTHON.exists() or INSTALLING.exists():
        return False
    probe = "import sys, pip; sys.exit(sys.version_info < (3, 11))"
    return subprocess.run([VENV_PYTHON, "-c", probe], capture_output=True, check=False).returncode == 0


def create() -> None:
    """Make an empty environment; Debian keeps what that takes in a package of its own."""
    if not importlib.util.find_spec("ensurepip"):
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        install_packages([f"python{version}-venv"], "Python's venv module is incomplete")
    run([sys.executable, "-m", "venv", "--clear", VENV])


def install() -> None:
    """Install the locked dependencies, then hailbox; pip takes its index from the host's own settings."""
    INSTALLED.unlink(missing_ok=True)
    INSTALLING.touch()
    pip: list[str | Path] = [VENV_PYTHON, "-m", "pip", "install", "-q", "--disable-pip-version-check"]
    run([*pip, "--require-hashes", "-r", LOCK], environment={"PYTHONDONTWRITEBYTECODE": ""})
    run([*pip, "--no-deps", "--no-index", "--no-build-isolation", "-e", ROOT])
    INSTALLING.unlink()
    INSTALLED.write_text(key())


def compile_sources() -> None:
    """Compile what was edited since the last time, for those who forbid Python to do it (PYTHONDONTWRITEBYTECODE)."""
    subprocess.run([VENV_PYTHON, "-m", "compileall", "-q", ROOT / "src"], capture_output=True, check=False)


def body() -> None:
    """Bring the environment to what the lock says."""
    if sys.version_info < (3, 11):  # noqa: UP036 - this is the script that checks it
        found = ".".join(map(str, sys.version_info[:3]))
        raise SetupError(f"Python {found} is too old: install 3.11 or later, or name one by `make PYTHON=...`")
    # Two set-ups at once (two terminals) would install into one another.
    with (ROOT / "requirements").joinpath("dev.lock").open("rb") as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)
        with step("virtual environment", "present") as say:
            fresh = INSTALLED.exists() and INSTALLED.read_text() == key() and VENV_PYTHON.exists()
            if not fresh and not usable():
                shutil.rmtree(VENV, ignore_errors=True)
                create()
                say(f"made with Python {sys.version.split()[0]}")
        with step("dependencies", "as locked") as say:
            if not fresh:
                install()
                say(f"installed from {LOCK.relative_to(ROOT)}")
        compile_sources()


if __name__ == "__main__":
    main(body)
