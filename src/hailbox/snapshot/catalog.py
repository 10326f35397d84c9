"""Which snapshots a stack has.

A snapshot is a volume with copies of the data volumes, and a seal: an empty volume that is made when the copy is
whole and whose labels describe it. Without its seal a copy is half-made: never listed, never restored, and discarded
by the next command that changes snapshots.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from hailbox.engine.port import Volume
from hailbox.model import names
from hailbox.model.errors import UnknownSnapshotError, UsageError
from hailbox.observe import Observed

TAKEN: Final = "org.hailbox.snapshot.taken"
SIZE: Final = "org.hailbox.snapshot.bytes"
REPLICAS: Final = "org.hailbox.snapshot.replicas"
DIGESTS: Final = "org.hailbox.snapshot.digests"
"""Of the copies, by directory: `chunkd-1=1f2e…`. Absent on snapshots of hailbox 0.1."""

CREDENTIALS: Final = ".credentials"
"""The directory of a snapshot with what was in the credentials volume: without them no client reaches the objects."""

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")


@dataclass(frozen=True)
class Snapshot:
    """One snapshot that is whole."""

    name: str
    taken: str
    """ISO 8601, UTC."""
    size: int
    """Bytes of all files."""
    profile: str
    scale: str
    """As the stack's record has it: `chunkd=3`."""
    replicas: tuple[str, ...]
    """Of which it has the data."""
    digests: Mapping[str, str] = field(default_factory=dict)
    """Of each directory of the copy; none where hailbox 0.1 saved it, which cannot be verified."""

    @property
    def has_credentials(self) -> bool:
        """Whether the stack's credentials are part of it."""
        return CREDENTIALS in self.digests


def check_name(name: str) -> str:
    """Return `name` if a snapshot may be called so. Raises UsageError."""
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"{name!r} cannot name a snapshot",
            "use 1 to 63 lower-case letters, digits, dots, underscores and hyphens; begin with a letter or digit",
        )
    return name


def volume(stack: str, name: str) -> str:
    """Name of the volume with the copies."""
    return f"{names.project(stack)}-snapshot-{name}"


def seal(stack: str, name: str) -> str:
    """Name of the seal."""
    return f"{names.project(stack)}-snapshot-seal-{name}"


def _of_kind(observed: Observed, kind: str) -> dict[str, Volume]:
    """The volumes of that kind by the snapshot's name; only those that are called as ours are."""
    called = volume if kind == names.SNAPSHOT else seal
    return {
        v.labels[names.SNAPSHOT_NAME]: v
        for v in observed.volumes
        if v.labels.get(names.KIND) == kind
        and v.name == called(observed.stack, v.labels.get(names.SNAPSHOT_NAME, ""))
    }


def description(snapshot: Snapshot) -> dict[str, str]:
    """The labels of the seal that say what the snapshot is."""
    return {
        names.PROFILE: snapshot.profile,
        names.SCALE: snapshot.scale,
        TAKEN: snapshot.taken,
        SIZE: str(snapshot.size),
        REPLICAS: " ".join(snapshot.replicas),
        DIGESTS: " ".join(f"{name}={digest}" for name, digest in sorted(snapshot.digests.items())),
    }


def described(name: str, labels: Mapping[str, str]) -> Snapshot:
    """The snapshot that these labels of its seal describe; what they leave out is empty."""
    size = labels.get(SIZE, "")
    pairs = (pair.partition("=") for pair in labels.get(DIGESTS, "").split())
    return Snapshot(
        name=name,
        taken=labels.get(TAKEN, ""),
        size=int(size) if size.isascii() and size.isdecimal() and len(size) < 20 else 0,
        profile=labels.get(names.PROFILE, ""),
        scale=labels.get(names.SCALE, ""),
        replicas=tuple(labels.get(REPLICAS, "").split()),
        digests={replica: digest for replica, _, digest in pairs},
    )


def snapshots(observed: Observed) -> list[Snapshot]:
    """Those that are whole, by name."""
    copies, seals = _of_kind(observed, names.SNAPSHOT), _of_kind(observed, names.SEAL)
    return [described(name, seals[name].labels) for name in sorted(seals.keys() & copies.keys())]


def half_made(observed: Observed) -> list[Volume]:
    """What a killed command left: copies without a seal, and seals without a copy."""
    copies, seals = _of_kind(observed, names.SNAPSHOT), _of_kind(observed, names.SEAL)
    return [copies.get(name) or seals[name] for name in sorted(copies.keys() ^ seals.keys())]


def find(observed: Observed, name: str) -> Snapshot:
    """The snapshot of that name. Raises UnknownSnapshotError."""
    known = snapshots(observed)
    for snapshot in known:
        if snapshot.name == name:
            return snapshot
    listed = ", ".join(snapshot.name for snapshot in known)
    raise UnknownSnapshotError(
        f"stack {observed.stack} has no snapshot {name!r}",
        f"it has: {listed}" if listed else f"make one with: hailbox --stack {observed.stack} snapshot save {name}",
    )
