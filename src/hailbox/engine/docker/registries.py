"""Pulling, pushing and importing images, with the credentials that the docker client keeps (`docker login`)."""

from __future__ import annotations

import json
import warnings
from typing import Any

from hailbox.engine.docker import objects
from hailbox.engine.docker.sdk import auth
from hailbox.model import diskspace
from hailbox.model.errors import EngineFailedError, ImageError


def credentials_for(repository: str) -> dict[str, str] | None:
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


def pull(client: Any, reference: str) -> None:
    """Have the engine pull an image. Raises EngineFailedError if it cannot, and what the package raises."""
    repository, tag = objects.split(reference)
    steps = client.pull(repository, tag, stream=True, decode=True, auth_config=credentials_for(repository) or {})
    for step in steps:
        if "error" in step:
            raise EngineFailedError(f"cannot pull {reference}: {step['error']}", "check the network")


def imported(said: str, reference: str) -> str:
    """The id of an imported image out of what the engine said: steps, as lines of JSON, of which the last has it.

    Raises EngineFailedError, and DiskFullError.
    """
    made = ""
    for step in map(json.loads, said.splitlines()):
        made = str(step.get("status") or made)
        if why := str(step.get("error", "")):
            if diskspace.is_full(why):
                raise diskspace.engine_full(why)
            raise EngineFailedError(f"cannot import {reference}: {why}", "run the command again")
    return made


def push(client: Any, reference: str) -> None:
    """Have the engine push an image. Raises ImageError if the registry refuses it, and what the package raises."""
    repository, tag = objects.split(reference)
    # The engine wants the header of credentials in any case, and with it pushes to a registry that asks for none.
    shown = credentials_for(repository) or {"username": "", "password": ""}
    for step in client.push(repository, tag, stream=True, decode=True, auth_config=shown):
        if "error" in step:
            host = auth.resolve_repository_name(repository)[0]
            raise ImageError(
                f"cannot push {reference}: {step['error']}",
                f"see that {host} is reachable from the engine and that you may push there: docker login {host}",
            )
