"""The helper containers that copy volumes."""

from __future__ import annotations

import secrets
from collections.abc import Iterable

from hailbox.engine.port import Helper
from hailbox.model import names
from hailbox.snapshot import catalog

_RIGHTS = ("CHOWN", "DAC_OVERRIDE", "FOWNER")
"""To read and write files of any owner, and to keep who owns them."""

_SAVE = "cp -a /from/. /to/ && du -sb /to"
# Emptied first, so that it may run again after it was cut short, and nothing newer is left.
_RESTORE = "find /to -mindepth 2 -delete && cp -a /from/* /to/"


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
    )


def restoring(stack: str, name: str, image: str, replicas: Iterable[str]) -> Helper:
    """Replaces what is in the data volumes of these replicas by what the snapshot has."""
    return Helper(
        name=f"{names.project(stack)}-restore-{secrets.token_hex(4)}",
        image=image,
        command=("sh", "-c", _RESTORE),
        labels={names.STACK: stack, names.HELPER: names.RESTORE, names.SNAPSHOT_NAME: name},
        mounts={catalog.volume(stack, name): "/from:ro"}
        | {names.data_volume(stack, replica): f"/to/{replica}" for replica in replicas},
        capabilities=_RIGHTS,
    )
