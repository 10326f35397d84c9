"""Checks recorded histories of one exclusive lock: who believed to hold it, from when until when.

Used for histories in virtual time (cld_simulation.py) and of real processes (test_cld_chaos.py).
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator
from dataclasses import dataclass


class TwoHoldersError(AssertionError):
    """Two clients believe to hold one exclusive lock."""


@dataclass(frozen=True, order=True)
class Span:
    """A time in which `holder` believed to hold the lock, at both ends and in between; seconds of any one clock."""

    begin: float
    until: float
    holder: str


class History:
    """Spans of belief, recorded in any order."""

    def __init__(self) -> None:
        self._spans: list[Span] = []
        self._current: Span | None = None

    def __iter__(self) -> Iterator[Span]:
        """All spans, in the order of time."""
        return iter(sorted([*self._spans, *([self._current] if self._current is not None else [])]))

    def add(self, span: Span) -> None:
        """Record a whole span."""
        self._spans.append(span)

    def observe(self, moment: float, holders: Collection[str]) -> None:
        """Record who believes at `moment`, which is not before the last one. Raises TwoHoldersError at once."""
        if len(holders) > 1:
            raise TwoHoldersError(f"{', '.join(holders)} at {moment:.3f}")
        holder = next(iter(holders), None)
        if self._current is not None and self._current.holder != holder:
            self._spans.append(self._current)
            self._current = None
        if holder is not None:
            begin = self._current.begin if self._current is not None else moment
            self._current = Span(begin, moment, holder)

    def check(self) -> int:
        """The number of spans, of which no two have a moment in common. Raises TwoHoldersError."""
        spans = list(self)
        for first, second in itertools.pairwise(spans):
            if second.begin < first.until:
                raise TwoHoldersError(
                    f"{first.holder} believed until {first.until:.6f}, {second.holder} from {second.begin:.6f}"
                )
        return len(spans)
