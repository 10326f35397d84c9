"""Files of users: lines `user<TAB>secret`, comments with `#` in the first column, blank lines."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final

from haild.daemon.errors import StartError
from haild.daemon.settings import await_file

MAXIMUM_USER: Final = 31
MAXIMUM_SECRET: Final = 127
"""Bytes. What cld's packets have room for (cld.md section 3)."""


def read(path: Path, *, maximum_user: int = MAXIMUM_USER, maximum_secret: int = MAXIMUM_SECRET) -> dict[bytes, bytes]:
    """Users and their secrets from the file at `path`, which is waited for as a configuration is.

    maximum_user, maximum_secret: bytes. Raises StartError, naming a line that is not of this form.
    """
    await_file(path)
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise StartError(f"{path}: {error.strerror}") from error
    secrets: dict[bytes, bytes] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith(b"#"):
            continue
        user, tab, secret = line.partition(b"\t")
        if not tab or not 1 <= len(user) <= maximum_user or not 1 <= len(secret) <= maximum_secret:
            sizes = f"1 to {maximum_user} and 1 to {maximum_secret} bytes"
            raise StartError(f"{path}: line {number} is not user, tab, secret ({sizes})")
        secrets[user] = secret
    return secrets


def lenient(lines: Iterable[str]) -> list[tuple[str, str]]:
    """Users and passwords as tdbadm loads them (tabled.md 2.2): a line without user or password is skipped.

    The password is everything after the first TAB; trailing white space does not count.
    """
    found = []
    for line in lines:
        text = line.rstrip()
        user, tab, password = text.partition("\t")
        if not text.startswith("#") and tab and user:
            found.append((user, password))
    return found
