"""Storage classes: names that are kept with an object and told again. Pure.

All objects are stored alike. A class whose objects have to be restored before they can be read would be a lie, so it
is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from haild.tabled.s3.errors import S3Error

HEADER: Final = "x-amz-storage-class"
STANDARD: Final = "STANDARD"
CLASSES: Final = frozenset(
    (STANDARD, "REDUCED_REDUNDANCY", "STANDARD_IA", "ONEZONE_IA", "INTELLIGENT_TIERING", "GLACIER_IR")
)


def wanted(headers: Mapping[str, str]) -> str:
    """The class that a request asks for. Raises InvalidStorageClass."""
    found = headers.get(HEADER, STANDARD)
    if found not in CLASSES:
        raise S3Error("InvalidStorageClass", "The storage class you specified is not valid")
    return found


def kept(headers: Mapping[str, str]) -> dict[str, str]:
    """The header to keep with an object for the class that a request asks for: none for STANDARD."""
    found = wanted(headers)
    return {} if found == STANDARD else {HEADER: found}


def of(headers: Mapping[str, str]) -> str:
    """The class of an object with these kept headers."""
    return headers.get(HEADER, STANDARD)
