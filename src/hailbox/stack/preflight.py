"""What has to be true of the host before anything is done."""

from __future__ import annotations

from hailbox.engine.composecli import parse_version
from hailbox.engine.port import Engine
from hailbox.model.errors import EngineTooOldError

OLDEST_ENGINE = (20, 10)


def check_engine(engine: Engine) -> None:
    """Ask the engine what it is. Raises EngineTooOldError, EngineUnreachableError, EngineDeniedError."""
    version = engine.version()
    if (parse_version(version.version) or OLDEST_ENGINE) < OLDEST_ENGINE:
        needed = ".".join(map(str, OLDEST_ENGINE))
        raise EngineTooOldError(
            f"the engine is version {version.version}; hailbox needs {needed} or later",
            "install a newer Docker engine",
        )
