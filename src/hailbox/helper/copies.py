"""The helper containers that copy volumes."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from pathlib import Path

from hailbox.engine.port import Helper
from hailbox.model import names
from hailbox.snapshot import catalog

_RIGHTS = ("CHOWN", "DAC_OVERRIDE", "FOWNER")
"""To read and write files of any owner, and to keep who owns them."""

_SAVE = "cp -a /from/. /to/ && du -sb /to"


def saving(stack: str, name: str, image: str, replicas: Iterable[str]) -> Helper:
    """Copies the data volumes of these replicas into the snapshot's, and prints the bytes and a name."""
    return Helper(
        name=f"{names.project(stack)}-save-{secrets.token_hex(4)}",
        image=image,
        command=("sh", "-c", _SAVE),
        labels={names.STACK: stack, names.HELPER: names.SAVE, names.SNAPSHOT_NAME: name},
        mounts={names.data_volume(stack, replica): f"/from/{replica}:ro" for replica in replicas}
        | {catalog.volume(stack, name): "/to"},
        capabilities=_RIGHTS,
        memory=None,
    )


def restoring(stack: str, name: str, image: str, replicas: Iterable[str]) -> Helper:
    """Replaces what is in the data volumes of these replicas by what the snapshot has, when it gets names.GO."""
    program = (Path(__file__).parent / "programs" / "restore.py").read_text(encoding="utf-8")
    return Helper(
        name=f"{names.project(stack)}-restore-{secrets.token_hex(4)}",
        image=image,
        command=("python3", "-I", "-c", program),
        labels={names.STACK: stack, names.HELPER: names.RESTORE, names.SNAPSHOT_NAME: name},
        mounts={catalog.volume(stack, name): "/from:ro"}
        | {names.data_volume(stack, replica): f"/to/{replica}" for replica in replicas},
        capabilities=_RIGHTS,
        memory=None,
    )
