"""The daemons' dependencies, as locked, for the Python and architecture of the images.

Fetched on the host by its own pip, which knows its index and certificates, and kept unpacked in the cache.
"""

from __future__ import annotations

import hashlib
import importlib.util
import shutil
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Final

from hailbox import surroundings
from hailbox.images import cache
from hailbox.model.errors import ImageError

MACHINES: Final = {"amd64": "x86_64", "arm64": "aarch64"}
"""Docker's names of architectures, and the ones in wheels' file names (others are the same)."""

GLIBC: Final = range(17, 37)
"""Minor versions of glibc 2 that a wheel may ask for (PEP 600): Debian 12 and 13 have at least 2.36."""


def ensure(lock: Path, python: str, architecture: str) -> Path:
    """The folder with the unpacked wheels that `lock` pins; fetched if it is not in the cache.

    `python` as `3.13`, `architecture` as Docker names it. Raises ImageError with what pip said, DiskFullError.
    """
    pins = hashlib.sha256(lock.read_bytes()).hexdigest()[:16]
    name = f"wheels-{pins}-python{python}-{architecture}"
    kept = cache.directory() / name
    if kept.is_dir():
        return kept
    with cache.lock("wheels"):
        if kept.is_dir():
            return kept
        with cache.writing(kept), tempfile.TemporaryDirectory(dir=kept.parent, prefix="fetching-") as temporary:
            wheels, unpacked = Path(temporary, "wheels"), Path(temporary, "unpacked")
            _download(lock, python, architecture, wheels)
            unpack(wheels, unpacked)
            unpacked.rename(kept)
        _drop_others(kept)
    return kept


def _drop_others(kept: Path) -> None:
    """Remove what interrupted runs and older locks left in the cache, for the same Python and architecture."""
    cache.drop_remains("fetching-")
    for other in kept.parent.glob(f"wheels-*-{kept.name.split('-', 2)[2]}"):
        if other != kept:
            shutil.rmtree(other, ignore_errors=True)


def pip() -> list[str]:
    """The host's pip as a command: this interpreter's, else the one on the path. Raises ImageError."""
    if importlib.util.find_spec("pip"):
        # Without the current directory and PYTHONPATH, whose modules would be run in place of pip's own.
        return [sys.executable, "-P", "-E", "-m", "pip"]
    for program in ("pip3", "pip"):
        if found := surroundings.which(program):
            return [found]
    raise ImageError(
        "the daemons' dependencies cannot be fetched: there is no pip", "install pip, then run this again"
    )


def download_command(lock: Path, python: str, architecture: str, to: Path) -> list[str]:
    """pip's arguments; `--no-deps` because the lock is complete, and pip would judge markers by this host."""
    machine = MACHINES.get(architecture, architecture)
    platforms = [f"manylinux_2_{minor}_{machine}" for minor in reversed(GLIBC)] + [f"manylinux2014_{machine}"]
    return [
        *("download", "--quiet", "--disable-pip-version-check", "--no-input", "--no-deps", "--require-hashes"),
        *("--only-binary=:all:", "--implementation=cp", f"--python-version={python}"),
        *(f"--platform={platform}" for platform in platforms),
        *("--requirement", str(lock), "--dest", str(to)),
    ]


def _download(lock: Path, python: str, architecture: str, to: Path) -> None:
    done = cache.run(pip() + download_command(lock, python, architecture, to), to.parent)
    if done.returncode == 0:
        return
    errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR:")]
    reason = errors[-1].removeprefix("ERROR: ") if errors else f"pip ended with status {done.returncode}"
    raise ImageError(
        f"the daemons' dependencies cannot be fetched: {reason}",
        "see that pip reaches a package index (`pip config list` shows its settings), then run this again",
    )


def unpack(wheels: Path, to: Path) -> None:
    """Unpack wheels over one another, as an installer lays them out (Binary distribution format specification)."""
    to.mkdir()
    for wheel in sorted(wheels.glob("*.whl")):
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(to)
    for data in to.glob("*.data"):
        for scheme in ("purelib", "platlib"):
            if (data / scheme).is_dir():
                shutil.copytree(data / scheme, to, dirs_exist_ok=True)
        shutil.rmtree(data)
