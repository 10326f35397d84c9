"""A user's directory as the engine's builder takes it: an archive that is the same while its content is."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path
from typing import Final

from hailbox.engine.docker import sdk

IGNORED: Final = ".dockerignore"
"""The file with the patterns of what is left out, as for `docker build`."""


def pack(directory: Path, dockerfile: str) -> bytes:
    """A tar archive of `directory`, sorted, owned by root, without times. Raises OSError for what cannot be read."""
    ignored = directory / IGNORED
    lines = ignored.read_text(encoding="utf-8").splitlines() if ignored.is_file() else []
    patterns = [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for path in sorted(sdk.exclude_paths(str(directory), patterns, dockerfile=dockerfile)):
            entry = tar.gettarinfo(str(directory / path), path)
            if entry is None:
                continue  # a socket
            entry.uid = entry.gid = 0
            entry.uname = entry.gname = ""
            entry.mtime = 0
            if entry.isreg():
                with (directory / path).open("rb") as content:
                    tar.addfile(entry, content)
            else:
                tar.addfile(entry)
    return archive.getvalue()
