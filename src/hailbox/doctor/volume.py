"""Whether a replica's data can be written: asked of its last log lines, and of the volume itself."""

from __future__ import annotations

import secrets
import time

from hailbox.engine.port import Container, Helper
from hailbox.model import names
from hailbox.model.errors import HailboxError
from hailbox.stack.context import Context
from hailbox.stack.writing import Trouble, said

_RECENT = 120
"""Seconds of the log that count."""
_DEADLINE = 30.0

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


def trouble(context: Context, container: Container, image: str | None) -> Trouble | None:
    """Why the daemon of this container cannot write its data; None if nothing speaks for that."""
    lines = context.engine.logs(container.id, tail=50, since=int(time.time()) - _RECENT)
    if found := said(lines):
        return found
    replica = container.labels[names.REPLICA]
    volume = names.data_volume(context.stack, context.catalog.keeper(replica))
    if image is None or volume not in container.mounts:
        return None
    helper = Helper(
        name=f"{names.project(context.stack)}-look-{secrets.token_hex(4)}",
        image=image,
        command=("python3", "-I", "-c", _LOOK),
        labels={names.STACK: context.stack, names.HELPER: names.SAVE},
        mounts={volume: "/volume"},
        capabilities=("DAC_OVERRIDE",),
    )
    try:
        answer = context.engine.run_helper(helper, deadline=_DEADLINE).decode().strip()
    except HailboxError:
        # A disk so full that no container can be made is found by the host's check.
        return None
    return Trouble(answer) if answer in list(Trouble) else None
