"""Have the base image on the engine: what is there already, else pulled, else bootstrapped from Debian's packages.

`hailbox up` does the same; as a step of the set-up it may also install what the bootstrapping takes.
"""

from __future__ import annotations

import os
import shutil

import engine
from steps import SetupError, install_packages, main, step

TOOLS = ("mmdebstrap", "debootstrap")


def body() -> None:
    """Have the base image."""
    source = os.environ.get("HAILBOX_BASE") or None
    if source is None and engine.get("/images/hailbox/base:python3.13/json") == 200:
        with step("base image", "present"):
            return
    from hailbox.engine.docker import DockerEngine
    from hailbox.images import base
    from hailbox.images.progress import ImageProgress, Phase
    from hailbox.model.errors import BaseImageError, HailboxError

    with step("base image", "present") as say:
        try:
            docker = DockerEngine()

            def tell(progress: ImageProgress) -> None:
                if progress.phase is Phase.READY:
                    return
                say({Phase.PULLING: "pulled", Phase.BOOTSTRAPPING: "bootstrapped"}.get(progress.phase, "adopted"))

            try:
                base.ensure(docker, source, tell)
            except BaseImageError:
                if source is not None or any(map(shutil.which, TOOLS)):
                    raise
                install_packages(["mmdebstrap", "debian-archive-keyring"], "the base image cannot be pulled")
                base.ensure(docker, source, tell)
        except HailboxError as error:
            raise SetupError(f"{error.problem}: {error.remedy}") from error


if __name__ == "__main__":
    main(body)
