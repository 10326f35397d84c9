"""Headers that ask for what is not there: to ignore one would be to do something else (tabled.md 17.1)."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

from haild.tabled.s3.errors import S3Error

_BEGINNINGS: Final = (
    "x-amz-write-offset-bytes",
    "x-amz-rename-source",
)
_OF_COPIES: Final = "x-amz-copy-source-server-side-encryption"


_CONDITIONS: Final = ("if-match", "if-none-match", "if-modified-since", "if-unmodified-since")
_OF_DELETIONS: Final = ("x-amz-if-match-size", "x-amz-if-match-last-modified-time", "x-amz-if-match-etag")
_EVALUATED: Final = {
    "s3:PutObject": ("if-match", "if-none-match"),
    "s3:DeleteObject": ("if-match", *_OF_DELETIONS[:2]),
    "s3:DeleteObjectVersion": ("if-match", *_OF_DELETIONS[:2]),
}
"""By action the conditions of a change that are evaluated. All others are refused."""


def refuse_conditions(method: str, action: str, headers: Mapping[str, str]) -> None:
    """Raise NotImplemented for the condition of a change that nothing here evaluates."""
    evaluated = _EVALUATED.get(action, ())
    conditions = _OF_DELETIONS if method in ("GET", "HEAD") else (*_CONDITIONS, *_OF_DELETIONS)
    for name in conditions:
        if name in headers and name not in evaluated:
            raise S3Error(
                "NotImplemented",
                "A header you provided implies functionality that is not implemented",
                fields={"Header": name},
            )


def refuse(names: Collection[str]) -> None:
    """Raise NotImplemented if one of the headers, or fields of a form, is such a one."""
    for name in names:
        lower = name.lower()
        if lower.startswith(_BEGINNINGS):
            raise S3Error("NotImplemented", f"{lower} is not implemented.")
        if lower.startswith(_OF_COPIES) and "x-amz-copy-source" not in names:
            raise S3Error("InvalidRequest", f"{lower} goes with x-amz-copy-source only.")
