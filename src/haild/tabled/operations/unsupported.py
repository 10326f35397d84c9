"""Headers that ask for what is not there: to ignore one would be to do something else (tabled.md 17.1)."""

from __future__ import annotations

from collections.abc import Collection

from haild.tabled.s3.errors import S3Error

_BEGINNINGS = (
    "x-amz-write-offset-bytes",
    "x-amz-if-match-",
    "x-amz-rename-source",
)
_OF_COPIES = "x-amz-copy-source-server-side-encryption"


def refuse(names: Collection[str]) -> None:
    """Raise NotImplemented if one of the headers, or fields of a form, is such a one."""
    for name in names:
        lower = name.lower()
        if lower.startswith(_BEGINNINGS):
            raise S3Error("NotImplemented", f"{lower} is not implemented.")
        if lower.startswith(_OF_COPIES) and "x-amz-copy-source" not in names:
            raise S3Error("InvalidRequest", f"{lower} goes with x-amz-copy-source only.")
