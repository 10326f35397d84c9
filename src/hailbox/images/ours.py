"""Which images hailbox made. A label does not say it: whatever is built FROM one of ours inherits it.

An image is ours by its name, which hailbox alone gives, or, where it has none, by its steps: its last one sets our
labels, or all of them are steps of an image that is ours by name. What a user builds on one of ours has steps of its
own after them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from hailbox.engine.port import Engine, Image
from hailbox.model import names

_TAG: Final = r":([0-9a-f]{16}|python\d+\.\d+)"
"""What our names end with: the digest of the content, or the Python of the base."""

_LABELLED: Final = re.compile(rf"\bLABEL {re.escape(names.PREFIX)}")
"""The last step of each image that the engine builds for us: it sets the labels, one by one."""


def labelled(engine: Engine) -> list[Image]:
    """All images with our label, whoever made them.

    containerd's store keeps the images of single steps of a build, and hides them; Docker's own removes them with the
    last image that is built on them.
    """
    return engine.images({names.IMAGE: None}, hidden=engine.mode().storage.startswith("containerd"))


def tags(image: Image) -> list[str]:
    """The names of an image that hailbox gave; Podman shows each with a registry."""
    ours = re.compile(rf"(localhost/|docker\.io/)?hailbox/{re.escape(image.labels.get(names.IMAGE, ''))}{_TAG}")
    return [tag for tag in image.tags if ours.fullmatch(tag)]


def without_name(engine: Engine, images: Sequence[Image]) -> list[Image]:
    """Those of `images` that have no name and are ours."""
    nameless = [image for image in images if not image.tags]
    if not nameless:
        return []
    known = [engine.image_steps(image.id) for image in images if tags(image)]
    return [image for image in nameless if _made_by_us(engine.image_steps(image.id), known)]


def _made_by_us(steps: Sequence[str], known: Sequence[Sequence[str]]) -> bool:
    """`steps`, as well as each of `known`, the newest first."""
    if not steps:
        return False
    return bool(_LABELLED.search(steps[0])) or any(tuple(steps) == tuple(whole[-len(steps) :]) for whole in known)


def is_what_it_says(image: Image | None, reference: str) -> bool:
    """Whether an image is there and is what `hailbox/NAME:DIGEST` says: `docker tag` or a mirror may change that."""
    name, content = parts(reference)
    # Images of hailbox 0.1 do not say their content.
    return image is not None and (image.labels.get(names.IMAGE), image.labels.get(names.CONTENT, content)) == (
        name,
        content,
    )


def parts(reference: str) -> tuple[str, str]:
    """Name and digest of `hailbox/NAME:DIGEST`."""
    name, _, content = reference.partition("/")[2].partition(":")
    return name, content
