"""Images that a team builds once and shares through a registry.

Ours are named by their content, so a name says all: `PREFIX/tabled:DIGEST-amd64` is what `hailbox/tabled:DIGEST` is
on an engine of that architecture. What comes from a registry is trusted as far as the registry is.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from hailbox.engine.port import Engine
from hailbox.images import ours
from hailbox.images.progress import Phase, Report, phase
from hailbox.model import names
from hailbox.model.errors import EngineFailedError, UsageError


def check(prefix: str) -> str:
    """The prefix, without a slash at its end. Raises UsageError if it is none."""
    found = prefix.rstrip("/")
    if not re.fullmatch(names.REGISTRY_PREFIX, found):
        raise UsageError(f"{prefix!r} is no prefix of images in a registry", f"write {names.REGISTRY_PREFIX_RULE}")
    return found


def shared_name(prefix: str, reference: str, architecture: str) -> str:
    """What `hailbox/NAME:DIGEST` is called in the registry."""
    return f"{prefix}/{reference.partition('/')[2]}-{architecture}"


def push(engine: Engine, prefix: str, references: Sequence[str], report: Report) -> list[str]:
    """Push images of ours; returns their names in the registry. Raises ImageError and what `Engine` raises."""
    architecture = engine.version().architecture
    pushed = []
    for reference in references:
        name = shared_name(prefix, reference, architecture)
        with phase(report, _image_of(reference), Phase.PUSHING):
            engine.tag_image(reference, name)
            try:
                engine.push_image(name)
            finally:
                engine.remove_image(name)
        pushed.append(name)
    return pushed


def pull(engine: Engine, prefix: str, references: Sequence[str], report: Report) -> list[str]:
    """Pull those of our images that the registry has; returns the ones that it has not, or cannot give out."""
    architecture = engine.version().architecture

    def one(reference: str) -> bool:
        return _pulled(engine, shared_name(prefix, reference, architecture), reference, report)

    with ThreadPoolExecutor(max_workers=len(references) or 1) as pool:
        there = list(pool.map(one, references))
    return [reference for reference, came in zip(references, there, strict=True) if not came]


def _pulled(engine: Engine, name: str, reference: str, report: Report) -> bool:
    try:
        with phase(report, _image_of(reference), Phase.PULLING):
            engine.pull_image(name)
    except EngineFailedError:
        return False
    try:
        if not ours.is_what_it_says(engine.image(name), reference):
            return False
        engine.tag_image(name, reference)
    finally:
        engine.remove_image(name)  # this name of it, as long as it has the other one
    return True


def _image_of(reference: str) -> str:
    return reference.partition("/")[2].partition(":")[0]


def mirrored(reference: str, mirror: str) -> tuple[str, ...]:
    """What an image of Docker Hub, such as `python:3.13-slim`, may be called in a registry that mirrors it."""
    official = "/" not in reference
    return (*((f"{mirror}/library/{reference}",) if official else ()), f"{mirror}/{reference}")
