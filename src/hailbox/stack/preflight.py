"""What has to be true of the host before anything is done."""

from __future__ import annotations

from typing import Final

from hailbox.engine.composecli import parse_version
from hailbox.engine.port import Engine
from hailbox.model.errors import EngineTooOldError

OLDEST_API: Final = (1, 41)
"""Of the engine's API. Docker 20.10 speaks it, and Podman 4; the number of a release says nothing across products."""


def check_engine(engine: Engine) -> None:
    """Ask the engine what it is. Raises EngineTooOldError, EngineUnreachableError, EngineDeniedError."""
    version = engine.version()
    if (parse_version(version.api) or OLDEST_API) < OLDEST_API:
        needed = ".".join(map(str, OLDEST_API))
        raise EngineTooOldError(
            f"the engine is {version.product} {version.version} and speaks version {version.api} of the API; hailbox "
            f"needs {needed} or later, as Docker 20.10 and Podman 4 have it",
            "install Docker 20.10 or Podman 4, or later ones",
        )
