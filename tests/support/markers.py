"""The part of an engine that locks are made of, in a directory: so that real processes can share it."""

from __future__ import annotations

import contextlib
import json
import os
import uuid
from collections.abc import Mapping
from pathlib import Path

from hailbox.engine.port import Marker


class DirectoryMarkers:
    """`Markers` in a directory; a file is as exclusive there as a container's name is on an engine."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def create_marker(self, name: str, labels: Mapping[str, str]) -> str | None:
        identifier = f"{name}:{uuid.uuid4().hex}"
        draft = self.place / f".{uuid.uuid4().hex}"
        draft.write_text(json.dumps({"id": identifier, "labels": dict(labels), "beats": 0}))
        try:
            os.link(draft, self.place / name)
        except FileExistsError:
            return None
        finally:
            draft.unlink()
        return identifier

    def marker(self, name: str) -> Marker | None:
        try:
            return Marker(**json.loads((self.place / name).read_text()))
        except FileNotFoundError:
            return None

    def beat_marker(self, marker_id: str, beats: int) -> None:
        raise NotImplementedError

    def remove_marker(self, marker_id: str) -> None:
        name = marker_id.partition(":")[0]
        found = self.marker(name)
        if found is not None and found.id == marker_id:
            with contextlib.suppress(FileNotFoundError):
                (self.place / name).unlink()
