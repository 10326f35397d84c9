"""Trees of files, and buckets, as what they hold under which name."""

import os
import time
from collections.abc import Iterable
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

from hstor import Hstor
from oddnames import AS_FILES, LONGEST


def write_tree(root: Path, names: Iterable[str] = (*AS_FILES, LONGEST)) -> dict[str, bytes]:
    """Write a file for each name; what each holds.

    The files are a minute old: S3 tells times in whole seconds, so that one written in the second in which it is
    uploaded looks newer than its object.
    """
    bodies = {name: b"file " + name.encode() for name in names}
    old = time.time() - 60
    for name, body in bodies.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)
        os.utime(path, (old, old))
    return bodies


def read_tree(root: Path) -> dict[str, bytes]:
    """What the files below a directory hold."""
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def read_bucket(hstor: Hstor, bucket: str, prefix: str = "") -> dict[str, bytes]:
    """What the objects of a bucket hold, as another client sees them."""
    return {key: hstor.request("GET", bucket, key).body for key in hstor.keys(bucket, prefix=prefix)}


def fetch(url: str) -> bytes:
    """What a URL shows to a client without a key. Raises HTTPError."""
    with urlopen(url, timeout=10) as answer:
        return bytes(answer.read())


def refused(url: str) -> int:
    """The status with which a URL is refused to a client without a key; 0 if it is not."""
    try:
        fetch(url)
    except HTTPError as error:
        return error.code
    return 0
