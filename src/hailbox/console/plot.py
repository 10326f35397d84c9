"""Plots as SVG. All that they show is numbers and texts of our own; what is not is escaped."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from markupsafe import Markup

WIDTH: Final = 460
HEIGHT: Final = 150
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 10, 12, 24


@dataclass(frozen=True)
class Bar:
    """One bar: what it stands for, how long it is, and its value in words."""

    label: str
    value: float
    text: str
    mark: int = 0
    """Which of the series it belongs to, from 0."""


def line(
    title: str,
    points: Sequence[tuple[float, float]],
    *,
    begin: float,
    end: float,
    show: Callable[[float], str],
) -> Markup:
    """A line over time. `points`: time and value; `begin`, `end`: times at the edges; `show`: a value in words."""
    highest = max((value for _, value in points), default=0.0) * 1.1 or 1.0
    span = max(1.0, end - begin)
    width, height = WIDTH - _LEFT - _RIGHT, HEIGHT - _TOP - _BOTTOM

    def place(when: float, value: float) -> str:
        x = _LEFT + width * (when - begin) / span
        y = _TOP + height * (1 - value / highest)
        return f"{x:.1f},{y:.1f}"

    path = " ".join(place(when, value) for when, value in points if when >= begin)
    last = show(points[-1][1]) if points else "nothing yet"
    marks = Markup("").join(
        Markup(
            '<line class="grid" x1="{}" x2="{}" y1="{}" y2="{}"/><text x="{}" y="{}" class="end">{}</text>'
        ).format(_LEFT, WIDTH - _RIGHT, y, y, _LEFT - 6, y + 4, show(highest * share))
        for share, y in ((0.0, _TOP + height), (0.5, _TOP + height / 2), (1.0, _TOP))
    )
    return Markup(
        '<svg class="plot" viewBox="0 0 {} {}" role="img" aria-label="{}: {}">{}'
        '<polyline class="series-0" points="{}"/>'
        '<text x="{}" y="{}">{} min ago</text><text x="{}" y="{}" class="end">now</text></svg>'
    ).format(
        WIDTH, HEIGHT, title, last, marks, path,
        _LEFT, HEIGHT - 6, round(span / 60), WIDTH - _RIGHT, HEIGHT - 6,
    )  # fmt: skip


def bars(title: str, values: Sequence[Bar]) -> Markup:
    """Horizontal bars, one below the other."""
    highest = max((bar.value for bar in values), default=0.0) or 1.0
    name, rest = 190, 150
    height = 22 * len(values) + 8
    width = 640
    rows = [
        Markup(
            '<text x="{}" y="{}" class="end">{}</text>'
            '<rect class="series-{}" x="{}" y="{}" width="{:.1f}" height="14"/><text x="{:.1f}" y="{}">{}</text>'
        ).format(
            *(name - 8, 22 * at + 18, bar.label, bar.mark % 3, name, 22 * at + 7, length),
            *(name + length + 6, 22 * at + 18, bar.text),
        )
        for at, bar in enumerate(values)
        for length in [max(1.0, (width - name - rest) * bar.value / highest)]
    ]
    return Markup('<svg class="plot bars" viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>').format(
        width, height, title, Markup("").join(rows)
    )
