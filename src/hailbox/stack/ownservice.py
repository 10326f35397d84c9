"""What the services of a stack have of the user's own: chosen now, or by an earlier command and kept in a label."""

from __future__ import annotations

import hashlib
import json
from importlib import resources
from pathlib import Path
from typing import Final

from hailbox.context import Context
from hailbox.model import overrides
from hailbox.model.catalog import Profile
from hailbox.model.errors import ImageError, UnknownServiceError
from hailbox.model.progress import Phase
from hailbox.observe import Observed

_PROGRAM: Final = "reload.py"


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


def build(context: Context, found: overrides.Recorded) -> dict[str, str]:
    """Build the images that the user has directories for; returns references by service or replica.

    The tag is the digest of the directory and the options, so nothing is built twice. Raises ImageError with the
    builder's last lines.
    """
    references = {}
    for name, entry in found.items():
        if "build" not in entry:
            continue
        described = entry["build"]
        dockerfile = described.get("dockerfile") or "Dockerfile"
        content = context.engine.pack_directory(Path(described["context"]), dockerfile)
        options = {"dockerfile": dockerfile, "networkmode": "default"}
        if described.get("target"):
            options["target"] = described["target"]
        if described.get("args"):
            options["buildargs"] = json.dumps({key: str(value) for key, value in described["args"].items()})
        digest = hashlib.sha256(content + json.dumps(options, sort_keys=True).encode()).hexdigest()[:16]
        references[name] = f"hailbox-own/{context.stack}-{name}:{digest}"
        if context.engine.image(references[name]) is None:
            context.tell(name, Phase.BUILDING)
            try:
                for _ in context.engine.build_image(content, references[name], labels={}, options=options):
                    """Wait for it to end."""
            except ImageError as error:
                where = Path(described["context"]) / dockerfile
                raise ImageError(error.problem, f"mend {where} and run the command again") from error
    return references


def reload_program(found: overrides.Recorded) -> str:
    """The text of the program that runs a daemon from a mounted checkout; empty if none does."""
    if not any("source" in entry for entry in found.values()):
        return ""
    return resources.files("hailbox.helper.programs").joinpath(_PROGRAM).read_text(encoding="utf-8")
