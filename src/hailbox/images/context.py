"""The content of an image as the engine's builder takes it: named by its hash, packed byte for byte the same."""

from __future__ import annotations

import hashlib
import io
import re
import tarfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

DOCKERFILE: Final = "Dockerfile"
_TAG_LENGTH: Final = 16


@dataclass(frozen=True)
class Context:
    """Files by their path in the build context; what lies in a folder `bin` is executable."""

    files: Mapping[str, bytes]

    def digest(self) -> str:
        """The tag for this content: 16 hexadecimal digits, the same on every machine."""
        digest = hashlib.sha256()
        for path, content in sorted(self.files.items()):
            digest.update(f"{path}\0{len(content)}\0".encode())
            digest.update(content)
        return digest.hexdigest()[:_TAG_LENGTH]

    def pack(self) -> bytes:
        """A tar archive: sorted, owned by root, without times."""
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w", format=tarfile.USTAR_FORMAT) as tar:
            for path, content in sorted(self.files.items()):
                entry = tarfile.TarInfo(path)
                entry.size = len(content)
                entry.mode = 0o755 if "bin" in path.split("/")[:-1] else 0o644
                tar.addfile(entry, io.BytesIO(content))
        return archive.getvalue()


def read_tree(
    directory: Path, prefix: str = "", *, skip: Callable[[str], bool] = lambda path: False
) -> dict[str, bytes]:
    """The files below `directory` by their path from there, after `prefix`; compiled and hidden ones left out.

    `skip` is asked with each path, of a folder with a slash at its end, as it is below `directory`.
    """
    return {prefix + path: (directory / path).read_bytes() for path in _walk(directory, "", skip)}


def _walk(directory: Path, below: str, skip: Callable[[str], bool]) -> Iterator[str]:
    for entry in sorted((directory / below).iterdir()):
        if entry.name.startswith(".") or entry.name == "__pycache__" or entry.suffix == ".pyc":
            continue
        path = below + entry.name
        if entry.is_dir():
            if not skip(path + "/"):
                yield from _walk(directory, path + "/", skip)
        elif not skip(path):
            yield path


def with_arguments(dockerfile: bytes, values: Mapping[str, str]) -> bytes:
    """The Dockerfile with these defaults for its build arguments, by name."""
    for name, value in values.items():
        line = f"ARG {name}={value}".encode().replace(b"\\", b"\\\\")
        dockerfile = re.sub(rb"^ARG %s\b.*$" % name.encode(), line, dockerfile, flags=re.MULTILINE)
    return dockerfile
