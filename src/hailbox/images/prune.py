"""Removing images that newer builds have superseded.

Every change of a source makes new images, and nobody asks for the old ones again, unless another checkout does. So a
build removes what is ours (by label), is not part of its own plan, runs or waits in no container, and was made a day
or more before the newest: whoever still wanted one has it built again in seconds, without a network.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Sequence

from hailbox.engine.port import Container, Engine, Image
from hailbox.model import names
from hailbox.model.errors import EngineFailedError

AGE = 24 * 3600
"""Seconds by which an image has to be older than the newest."""

_LASTING = "base"
"""Takes half a minute to make, and is the same for all."""


def superseded(images: Sequence[Image], containers: Sequence[Container], kept: Collection[str]) -> list[str]:
    """Those of `images` that can go: their tags, or their ids where they have none."""
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
    return [reference for image in old for reference in image.tags or (image.id,)]


def prune(engine: Engine, kept: Collection[str]) -> None:
    """Remove what is superseded. What the engine does not give up, such as a layer of another image, stays."""
    for reference in superseded(engine.images({names.IMAGE: None}), engine.containers({}), kept):
        with contextlib.suppress(EngineFailedError):
            engine.remove_image(reference)
