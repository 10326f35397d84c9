"""Removing images that newer builds have superseded.

Every change of a source makes new images, and the old ones are not used again, unless by another checkout. So a build
removes what hailbox made, is not part of its own plan, is in no container, and was made a day or more before the
newest. Where one is still wanted, it is built again in seconds, without a network.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Sequence
from typing import Final

from hailbox.engine.port import Container, Engine, Image
from hailbox.images import ours
from hailbox.model import names
from hailbox.model.errors import EngineFailedError

AGE: Final = 24 * 3600
"""Seconds by which an image has to be older than the newest."""

_LASTING: Final = "base"
"""Takes half a minute to make, and is the same for all."""


def superseded(
    images: Sequence[Image], containers: Sequence[Container], kept: Collection[str], nameless: Collection[str] = ()
) -> list[str]:
    """Those of `images` that can go: their names that are ours, or their ids if these are among `nameless`."""
    newest = max((image.created for image in images), default=0)
    used = {container.image_id for container in containers}
    old = [
        image
        for image in images
        if image.created <= newest - AGE
        and image.id not in used
        and image.labels.get(names.IMAGE) != _LASTING
        and not set(image.tags) & set(kept)
    ]
    names_of_old = [tag for image in old for tag in ours.tags(image)]
    return names_of_old + [image.id for image in old if image.id in nameless]


def prune(engine: Engine, kept: Collection[str]) -> None:
    """Remove what is superseded. What the engine does not give up, such as a layer of another image, stays."""
    images = ours.labelled(engine)
    nameless = {image.id for image in ours.without_name(engine, images)}
    for reference in superseded(images, engine.containers({}), kept, nameless):
        with contextlib.suppress(EngineFailedError):
            engine.remove_image(reference)
