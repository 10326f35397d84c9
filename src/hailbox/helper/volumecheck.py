"""Whether the data volume of a replica can be written: asked of the volume itself, by a helper that tries."""

from __future__ import annotations

from enum import StrEnum

from hailbox.context import Context
from hailbox.engine.port import Container
from hailbox.helper import kinds
from hailbox.helper.run import Work, image_of, run
from hailbox.model.errors import DiskFullError, HailboxError
from hailbox.observe import Observed


class Trouble(StrEnum):
    """Why nothing can be written."""

    FULL = "full"
    READ_ONLY = "read-only"


def look(context: Context, observed: Observed, container: Container) -> Trouble | None:
    """Try to write to the container's data volume, as the next container with it will find it.

    None if it can be written, or that cannot be asked. Raises DiskFullError where the engine's disk is so full that
    no container can be made.
    """
    data = {volume.name for volume in observed.data_volumes()}
    volume = next((name for name in container.mounts if name in data), None)
    image = image_of(observed)
    if volume is None or image is None:
        return None
    try:
        answer = run(context, Work(kinds.VOLUME_CHECK, image, {volume: "/volume"})).decode().strip()
    except DiskFullError:
        raise
    except HailboxError:
        return None
    return Trouble(answer) if answer in list(Trouble) else None
