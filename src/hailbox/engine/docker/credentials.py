"""The credentials that the docker client keeps for a registry (`docker login`)."""

from __future__ import annotations

import warnings

from hailbox.engine.docker.sdk import auth


def of(repository: str) -> dict[str, str] | None:
    """What to show the registry of this repository; None where nothing is kept for it, or the user's credential
    helper fails: an image that everyone may pull needs none, and for any other the registry says so."""
    registry, _ = auth.resolve_repository_name(repository)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a helper that is not installed
            found = auth.resolve_authconfig(auth.load_config(), registry)
    except Exception:  # also whatever a damaged configuration makes the package raise
        return None
    return found or None
