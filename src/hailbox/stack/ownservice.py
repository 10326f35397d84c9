"""What the services of a stack have of the user's own: chosen now, or by an earlier command and kept in a label."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from hailbox.context import Context
from hailbox.model import overrides
from hailbox.model.catalog import Profile
from hailbox.model.errors import ImageError, UnknownServiceError
from hailbox.model.progress import Phase
from hailbox.observe import Observed

_PROGRAM: Final = Path(__file__).parents[1] / "helper" / "programs" / "reload.py"


def chosen(context: Context, observed: Observed, profile: Profile) -> overrides.Recorded:
    """By service or replica: what it has of the user's own.

    Raises UnknownServiceError where the file names one that the profile does not have.
    """
    known = {*profile.services, *(replica.name for replica in profile.replicas)}
    for name in context.config.services:
        if name not in known:
            raise UnknownServiceError(
                f"hailbox.yaml has settings for {name!r}, and profile {profile.name} has no such service or replica",
                f"it has: {', '.join(sorted(known))}",
            )
    found = overrides.chosen(observed.record.overrides if observed.record else {}, context.config)
    return {name: entry for name, entry in found.items() if name in known}


@dataclass(frozen=True)
class OwnImage:
    """An image from a directory of the user's."""

    reference: str
    """Its tag is the digest of the directory and the options, so nothing is built twice."""
    dockerfile: Path
    content: bytes
    options: Mapping[str, str]


def images(context: Context, found: overrides.Recorded) -> dict[str, OwnImage]:
    """By service or replica: the image that its directory makes. Raises ImageError where one cannot be read."""
    described = {name: entry["build"] for name, entry in found.items() if "build" in entry}
    return {name: _image(context, name, build) for name, build in described.items()}


def _image(context: Context, name: str, build: Mapping[str, Any]) -> OwnImage:
    dockerfile = build.get("dockerfile") or "Dockerfile"
    directory = Path(build["context"])
    content = context.engine.pack_directory(directory, dockerfile)
    options = {"dockerfile": dockerfile, "networkmode": "default"}
    if build.get("target"):
        options["target"] = build["target"]
    if build.get("args"):
        options["buildargs"] = json.dumps({key: str(value) for key, value in build["args"].items()})
    digest = hashlib.sha256(content + json.dumps(options, sort_keys=True).encode()).hexdigest()[:16]
    return OwnImage(f"hailbox-own/{context.stack}-{name}:{digest}", directory / dockerfile, content, options)


def build(context: Context, wanted: Mapping[str, OwnImage]) -> None:
    """Build those of the images that are missing. Raises ImageError with the builder's last lines."""
    for name, image in wanted.items():
        if context.engine.image(image.reference) is not None:
            continue
        context.tell(name, Phase.BUILDING)
        try:
            for _ in context.engine.build_image(image.content, image.reference, labels={}, options=image.options):
                """Wait for it to end."""
        except ImageError as error:
            raise ImageError(error.problem, f"mend {image.dockerfile} and run the command again") from error


def reload_program(found: overrides.Recorded) -> str:
    """The text of the program that runs a daemon from a mounted checkout; empty if none does."""
    if not any("source" in entry for entry in found.values()):
        return ""
    return _PROGRAM.read_text(encoding="utf-8")
