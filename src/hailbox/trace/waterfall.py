"""The requests that follow from one, below one another, as lines of text. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from hailbox.trace.exchange import Exchange

QUIET: Final = 1.0
"""Seconds without a further request after which a trace is taken to be complete."""
_WIDTH: Final = 40


@dataclass
class Followed:
    """Gathers the traces that touch one object."""

    bucket: str
    key: str
    _open: dict[str, list[Exchange]] = field(default_factory=dict)
    _last: dict[str, float] = field(default_factory=dict)

    def take(self, found: Exchange, now: float) -> None:
        """Take an exchange that is told of `now`."""
        if found.trace:
            self._open.setdefault(found.trace, []).append(found)
            self._last[found.trace] = now

    def complete(self, now: float) -> Iterator[list[Exchange]]:
        """The traces that are complete and touch the object, each in order of time."""
        for trace in [trace for trace, last in self._last.items() if now - last >= QUIET]:
            del self._last[trace]
            gathered = sorted(self._open.pop(trace), key=lambda each: each.time)
            if any((each.bucket, each.key) == (self.bucket, self.key) for each in gathered):
                yield gathered


def depth(found: Exchange, spans: dict[str, Exchange]) -> int:
    """How many of the requests it follows from are among these (by span)."""
    steps, parent = 0, found.parent
    while parent in spans and steps < len(spans):
        steps, parent = steps + 1, spans[parent].parent
    return steps


def lines(trace: Sequence[Exchange]) -> list[str]:
    """One line for each request: who asked whom for what, and when, as a bar."""
    begin = min(each.time for each in trace)
    whole = max(max(each.end for each in trace) - begin, 1e-6)
    spans = {each.span: each for each in trace if each.span}
    asked = [f"{'  ' * depth(each, spans)}{each.source} → {each.replica} {each.operation}" for each in trace]
    widest = max(map(len, asked))
    found = [f"trace {trace[0].trace}"]
    for each, text in zip(trace, asked, strict=True):
        start = round(_WIDTH * (each.time - begin) / whole)
        length = max(1, round(_WIDTH * (each.seconds or 0.0) / whole))
        bar = (" " * min(start, _WIDTH - 1) + "█" * length)[:_WIDTH].ljust(_WIDTH)
        took = f"{each.seconds * 1000:9.2f} ms" if each.seconds is not None else "         – "
        found.append(f"{text.ljust(widest)}  {(each.time - begin) * 1000:8.2f} {bar} {took}  {each.status}")
    return found
