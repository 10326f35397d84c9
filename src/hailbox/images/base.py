"""The base image: Python 3.13 or later on glibc, of any origin.

Ours is `BASE`: adopted from `python:3.13-slim` where that is on the engine or can be pulled, else Debian 13,
bootstrapped from its packages. Another one (HAILBOX_BASE) is adopted under a name of its own. Adopting means
looking once what Python it has, and keeping the answer as a label.
"""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import hailbox
from hailbox import resources, surroundings
from hailbox.engine.port import Engine, Image
from hailbox.images import cache, registry
from hailbox.images.context import DOCKERFILE, Context, with_arguments
from hailbox.images.progress import Phase, Report, phase
from hailbox.model import names
from hailbox.model.errors import BaseImageError, EngineFailedError, ImageError

BASE: Final = "hailbox/base:python3.13"
PYTHON: Final = "3.13"
"""Of Debian 13, and of PULLED."""
PULLED: Final = "python:3.13-slim"
SUITE: Final = "trixie"
OLDEST: Final = (3, 13)

PYTHON_LABEL: Final = "org.hailbox.python"
"""Label of a base: its Python, `3.13`."""

_FOUND: Final = re.compile(r"^base: (\d+) (\d+) (\w+)$")
_REMEDY: Final = "set HAILBOX_BASE to an image with Python 3.13 or later on glibc"
_LEFT_OUT: Final = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/info/*", "/usr/share/locale/*")
_LICENCES: Final = "/usr/share/doc/*/copyright"


def reference(source: str | None) -> str:
    """The name that the base has on the engine: BASE, or one made from the user's own `source`."""
    if source is None:
        return BASE
    return f"hailbox/base:{hashlib.sha256(source.encode()).hexdigest()[:16]}"


def python_of(image: Image | None) -> str | None:
    """The Python of a base image, `3.13`; None if there is no image or it was not looked at yet."""
    return image.labels.get(PYTHON_LABEL) if image else None


def ensure(engine: Engine, source: str | None, report: Report) -> str:
    """Have the base on the engine; returns its Python, `3.13`.

    Raises BaseImageError where it cannot be had, DiskFullError, and what `Engine` raises.
    """
    wanted = reference(source)
    if python := python_of(engine.image(wanted)):
        return python
    found = next((name for name in _sources(source) if engine.image(name) or _pulled(engine, name, report)), None)
    if found is None:
        if source is not None:
            raise BaseImageError(
                f"the base image {source} is not on the engine and cannot be pulled",
                "build it, or unset HAILBOX_BASE",
            )
        return bootstrap(engine, report)
    return _adopt(engine, found, wanted, report)


def _sources(source: str | None) -> tuple[str, ...]:
    """The names by which the base may be had: the user's own, or Python's from a mirror, if there is one, and Docker
    Hub. Raises UsageError if HAILBOX_REGISTRY is no prefix."""
    mirror = os.environ.get("HAILBOX_REGISTRY")
    if source is not None:
        return (source,)
    return (*(registry.mirrored(PULLED, registry.check(mirror)) if mirror else ()), PULLED)


def _pulled(engine: Engine, source: str, report: Report) -> bool:
    try:
        with phase(report, "base", Phase.PULLING):
            engine.pull_image(source)
    except EngineFailedError:
        return False
    return True


def _adopt(engine: Engine, source: str, wanted: str, report: Report) -> str:
    """Give an image our name for it, with its Python as a label. Raises BaseImageError if that is too old."""
    dockerfile = (resources.directory("images") / "base" / DOCKERFILE).read_bytes()
    # Unlike any earlier build, for what the builder has in its cache it does not run again, and shows nothing.
    arguments = {"SOURCE": source, "LOOK": os.urandom(8).hex()}
    context = Context({DOCKERFILE: with_arguments(dockerfile, arguments)}).pack()
    with phase(report, "base", Phase.BUILDING):
        try:
            version, libc = _seen(engine.build_image(context, wanted, labels={}))
        except ImageError as error:
            raise BaseImageError(f"{source} cannot be the base image: it does not run python3", _REMEDY) from error
        if version < OLDEST or libc != "glibc":
            engine.remove_image(wanted)
            shown = ".".join(map(str, version))
            raise BaseImageError(f"{source} cannot be the base image: it has Python {shown} on {libc}", _REMEDY)
        python = ".".join(map(str, version))
        # Only an image with this label counts, so a run that ends between the two leaves nothing wrong behind. The
        # first image had no label, so that it is a layer below this one now, and not a nameless one of ours.
        for _ in engine.build_image(context, wanted, labels=labels("base") | {PYTHON_LABEL: python}):
            pass
    return python


def _seen(lines: Iterable[str]) -> tuple[tuple[int, int], str]:
    """What the build of the adopted image printed: the version of its Python, and its C library."""
    found: tuple[tuple[int, int], str] = ((0, 0), "unknown")
    for line in lines:
        if match := _FOUND.match(line):
            found = (int(match[1]), int(match[2])), match[3]
    return found


def bootstrap(engine: Engine, report: Report) -> str:
    """Make the base of Debian's packages, with the host's mmdebstrap or debootstrap; returns its Python."""
    tool = surroundings.which("mmdebstrap") or surroundings.which("debootstrap")
    if tool is None:
        raise BaseImageError(
            f"there is no base image: {PULLED} cannot be pulled, and neither mmdebstrap nor debootstrap is there",
            "install mmdebstrap (apt-get install mmdebstrap debian-archive-keyring), or " + _REMEDY,
        )
    architecture = engine.version().architecture
    kept = cache.directory()
    with phase(report, "base", Phase.BOOTSTRAPPING), cache.lock("base"):
        cache.drop_remains("base-")
        # Never the same name twice: the tool of a run that was killed may still be writing.
        with cache.writing(kept), tempfile.TemporaryDirectory(dir=kept, prefix="base-") as temporary:
            archive = Path(temporary, "base.tar")
            if tool.endswith("/mmdebstrap"):
                _run(mmdebstrap_command(tool, architecture, archive), archive)
            else:
                _debootstrap(tool, architecture, archive)
            engine.import_image(archive, BASE, labels=labels("base") | {PYTHON_LABEL: PYTHON})
    return PYTHON


def mmdebstrap_command(tool: str, architecture: str, archive: Path) -> list[str]:
    """Debian's essential packages, apt and Python, without documentation; the mirror is the tool's own choice."""
    command = [tool, "--quiet", "--variant=minbase", "--include=python3", f"--architectures={architecture}"]
    # The archive is thrown away if the machine goes down, so nothing is gained by waiting for the disk.
    command.append("--dpkgopt=force-unsafe-io")
    command += [f"--dpkgopt=path-exclude={pattern}" for pattern in _LEFT_OUT]
    return [*command, f"--dpkgopt=path-include={_LICENCES}", "--format=tar", SUITE, str(archive)]


def _debootstrap(tool: str, architecture: str, archive: Path) -> None:
    root = str(archive.with_suffix(".root"))
    _run([tool, "--variant=minbase", "--include=python3", f"--arch={architecture}", SUITE, root], archive)
    left_out = [f"--exclude=.{pattern}" for pattern in (*_LEFT_OUT[1:], "/var/cache/apt/*", "/var/lib/apt/lists/*")]
    _run(["tar", "--numeric-owner", *left_out, "-C", root, "-cf", str(archive), "."], archive)


def _run(command: list[str], archive: Path) -> None:
    done = cache.run(command, archive.parent)
    if done.returncode == 0:
        return
    lines = [line for line in done.stderr.splitlines() + done.stdout.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("E:")] or lines
    raise BaseImageError(
        f"{Path(command[0]).name} could not make the base image: {errors[0] if errors else 'it did not say why'}",
        f"see that Debian's packages can be reached, or {_REMEDY}",
    )


def labels(image: str) -> dict[str, str]:
    """The labels of every image that we make."""
    return {names.IMAGE: image, names.VERSION: hailbox.__version__}
