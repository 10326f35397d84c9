"""The newest engine that Debian has, 28.5, in a container of the first: with containerd's store of images, and asking
for version 1.44 of the API at least, as engine 29 does by itself. Needs root."""

import json
from typing import ClassVar

from support import nestedimage
from support.nestedengine import NestedEngine

_CONFIGURATION = {"features": {"containerd-snapshotter": True}}


class NestedNewest(NestedEngine):
    """One such engine, started; `close` removes all of it."""

    image_folder: ClassVar = nestedimage.ENGINE_28
    api: ClassVar = "1.44"

    def _make(self) -> None:
        super()._make()
        # It sets each interface of a container through /proc/sys, which Docker mounts read-only.
        done = self.container.exec_run(["mount", "-o", "remount,rw", "/proc/sys"])
        assert done.exit_code == 0, done.output
        (self.folder / "daemon.json").write_text(json.dumps(_CONFIGURATION))

    def _program(self) -> str:
        limited = f"env DOCKER_MIN_API_VERSION={self.api}"
        return f"{limited} {super()._program()} --config-file {self.folder}/daemon.json"
