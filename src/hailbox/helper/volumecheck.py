"""Whether a replica's data can be written: asked of its last log lines, and of the volume itself."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Iterable
from enum import StrEnum

from hailbox.engine.port import Container, Engine, Helper
from hailbox.model import names
from hailbox.model.catalog import ONE_SHOT
from hailbox.model.errors import DiskFullError, HailboxError
from hailbox.observe import Observed

_LINES = 50
_RECENT = 120
"""Seconds of the log that count."""
_DEADLINE = 30.0

_FULL = re.compile(r"no space left on device|disk is full|disk quota exceeded|ENOSPC", re.IGNORECASE)
_READ_ONLY = re.compile(r"read-only file ?system|readonly database|EROFS", re.IGNORECASE)


_LOOK = """
import os
found = os.statvfs("/volume")
if found.f_flag & os.ST_RDONLY:
    print("read-only")
elif found.f_bavail * found.f_frsize < 1 << 20 or not found.f_favail:
    print("full")
else:
    # A file without a name: the daemon never sees it.
    try:
        os.close(os.open("/volume", os.O_TMPFILE | os.O_WRONLY, 0o600))
        print("writable")
    except OSError as error:
        print("read-only" if error.errno == 30 else "full" if error.errno in (28, 122) else "writable")
"""


class Trouble(StrEnum):
    """Why nothing can be written."""

    FULL = "full"
    READ_ONLY = "read-only"


def said(lines: Iterable[bytes]) -> Trouble | None:
    """What the last of these log lines that is about writing says."""
    trouble = None
    for line in lines:
        text = line.decode(errors="replace")
        if _FULL.search(text):
            trouble = Trouble.FULL
        elif _READ_ONLY.search(text):
            trouble = Trouble.READ_ONLY
    return trouble


def trouble(engine: Engine, observed: Observed, container: Container) -> Trouble | None:
    """Why the daemon of this container cannot write; None if nothing speaks for that. Raises DiskFullError."""
    lines = engine.logs(container.id, tail=_LINES, since=int(time.time()) - _RECENT)
    return said(lines) or look(engine, observed, container)


def look(engine: Engine, observed: Observed, container: Container) -> Trouble | None:
    """Try to write to the volume itself, as the next container with it will find it.

    Raises DiskFullError where the engine's disk is so full that no container can be made.
    """
    known = {volume.name for volume in observed.data_volumes()}
    volume = next((name for name in container.mounts if name in known), None)
    one_shot = observed.of(ONE_SHOT)
    if volume is None or not one_shot:
        return None
    helper = Helper(
        name=f"{names.project(observed.stack)}-look-{secrets.token_hex(4)}",
        image=one_shot[0].image_id,
        command=("python3", "-I", "-c", _LOOK),
        labels={names.STACK: observed.stack, names.HELPER: names.SAVE},
        mounts={volume: "/volume"},
        capabilities=("DAC_OVERRIDE",),
    )
    try:
        answer = engine.run_helper(helper, deadline=_DEADLINE).decode().strip()
    except DiskFullError:
        raise
    except HailboxError:
        return None
    return Trouble(answer) if answer in list(Trouble) else None
