"""What a replica's data volume shows: whether it can be written, whose it is, and which version its data has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from hailbox.context import Context
from hailbox.engine.port import Container
from hailbox.helper import kinds
from hailbox.helper.run import Work, image_of, run
from hailbox.model import names
from hailbox.model.errors import DiskFullError, HailboxError
from hailbox.observe import Observed

OWNER: Final = 10001
"""Id of the user that our images run their daemons as."""

DATABASES: Final[Mapping[str, tuple[str, int]]] = {
    "cld": ("cld.sqlite", 1),
    "chunkd": ("catalog.sqlite", 1),
    "tabled": ("passwd", 3),
    "iwhd": ("_db/iwhd.db", 2),
}
"""By service: its database, by its path in the volume, and the latest version of it that this release knows."""


class Trouble(StrEnum):
    """Why nothing can be written."""

    FULL = "full"
    READ_ONLY = "read-only"


@dataclass(frozen=True)
class Volume:
    """What a look at a data volume found; what could not be asked is None."""

    trouble: Trouble | None = None
    owner: int | None = None
    version: int | None = None
    """Of its database."""


def data_volume(observed: Observed, container: Container) -> str | None:
    """The name of the data volume that a container has mounted."""
    data = {volume.name for volume in observed.data_volumes()}
    return next((name for name in container.mounts if name in data), None)


def look(context: Context, observed: Observed, container: Container) -> Volume:
    """Look at the container's data volume, and try to write to it, as the next container with it will.

    Raises DiskFullError where the engine's disk is so full that no container can be made.
    """
    volume, image = data_volume(observed, container), image_of(observed)
    if volume is None or image is None:
        return Volume()
    database, _ = DATABASES.get(container.labels.get(names.SERVICE, ""), ("-", 0))
    try:
        said = run(context, Work(kinds.VOLUME_CHECK, image, {volume: "/volume"}, (database,))).decode().split()
    except DiskFullError:
        raise
    except HailboxError:
        return Volume()
    state, owner, version = (*said, "", "", "")[:3]
    return Volume(
        Trouble(state) if state in list(Trouble) else None,
        int(owner) if owner.isdecimal() else None,
        int(version) if version.isdecimal() else None,
    )


def give_back(context: Context, observed: Observed, container: Container) -> None:
    """Give the container's data volume, and all in it, to the user that our daemons run as."""
    volume, image = data_volume(observed, container), image_of(observed)
    if volume is not None and image is not None:
        run(context, Work(kinds.OWN, image, {volume: "/volume"}, (str(OWNER),)))
