"""W3C Trace Context: the header `traceparent`, by which requests that follow from one another share an id.

`version-trace-span-flags`, in hexadecimal: 00, 32, 16 and 2 digits (w3.org/TR/trace-context, section 3.2).
"""

from __future__ import annotations

import re
from contextvars import ContextVar
from dataclasses import dataclass
from random import Random
from typing import Final

HEADER: Final = "traceparent"

_FORM: Final = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}(-.*)?")


@dataclass(frozen=True, slots=True)
class Trace:
    """A request on its way: the id of the whole, its own, and that of the request that it follows from, if any."""

    trace: str
    span: str
    parent: str = ""

    @property
    def header(self) -> str:
        """What a request that follows from this one carries."""
        return f"00-{self.trace}-{self.span}-01"


CURRENT: Final[ContextVar[Trace | None]] = ContextVar("trace", default=None)
"""The request that this task works for, where that is followed."""


def received(header: str | None, random: Random) -> Trace:
    """The trace of a request with this header; a new one where there is none, or none that can be read."""
    found = _FORM.fullmatch(header.strip()) if header else None
    span = f"{random.getrandbits(64) or 1:016x}"
    valid = (
        found is not None
        and found[1] != "ff"
        and (found[1] != "00" or found[4] is None)
        and found[2].strip("0") != ""
        and found[3].strip("0") != ""
    )
    if found is None or not valid:
        return Trace(f"{random.getrandbits(128) or 1:032x}", span)
    return Trace(found[2], span, found[3])
