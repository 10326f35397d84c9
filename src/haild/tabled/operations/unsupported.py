"""Headers that ask for what is not there: to ignore one would be to do something else (tabled.md 17.1)."""

from __future__ import annotations

from collections.abc import Iterable

from haild.tabled.s3.errors import S3Error

_BEGINNINGS = (
    "x-amz-server-side-encryption",
    "x-amz-copy-source-server-side-encryption",
    "x-amz-object-lock-",
    "x-amz-write-offset-bytes",
    "x-amz-if-match-",
    "x-amz-rename-source",
)


def refuse(names: Iterable[str]) -> None:
    """Raise NotImplemented if one of the headers, or fields of a form, is such a one."""
    for name in names:
        lower = name.lower()
        if lower.startswith(_BEGINNINGS):
            raise S3Error("NotImplemented", f"{lower} is not implemented.")
