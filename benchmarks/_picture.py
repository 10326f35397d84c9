"""Steps on a scale of time as a picture: SVG, written by hand as nothing else is needed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

_LABEL, _SCALE, _ROW = 200, 90, 18
"""Pixels: of the labels, of a second, of a row."""


@dataclass(frozen=True)
class Step:
    """Seconds since the command's start; a step that ends when it begins is a moment."""

    name: str
    begin: float
    end: float


@dataclass(frozen=True)
class Chain:
    """A command and its steps."""

    title: str
    steps: Sequence[Step]

    @property
    def end(self) -> float:
        """When the last step ends."""
        return max(step.end for step in self.steps)


def svg(chains: Sequence[Chain]) -> str:
    """The chains one below the other, on one scale."""
    longest = max(chain.end for chain in chains)
    rows = sum(len(chain.steps) + 2 for chain in chains) + 1
    width, height = _LABEL + round((longest + 1) * _SCALE), rows * _ROW
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif" '
        'font-size="12">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
    ]
    for second in range(int(longest) + 2):
        x = _LABEL + second * _SCALE
        lines.append(f'<line x1="{x}" y1="0" x2="{x}" y2="{height - _ROW}" stroke="#ddd"/>')
        lines.append(f'<text x="{x}" y="{height - 4}" text-anchor="middle" fill="#666">{second} s</text>')
    row = 0
    for chain in chains:
        row += 1
        lines.append(
            f'<text x="4" y="{row * _ROW}" font-weight="bold">{escape(chain.title)}: {chain.end:.2f} s</text>'
        )
        for step in chain.steps:
            row += 1
            x, y = _LABEL + step.begin * _SCALE, row * _ROW
            length, colour = max((step.end - step.begin) * _SCALE, 3), "#c33" if step.end == step.begin else "#48a"
            lines.append(f'<text x="16" y="{y}">{escape(step.name)}</text>')
            lines.append(f'<rect x="{x:.1f}" y="{y - 11}" width="{length:.1f}" height="12" fill="{colour}"/>')
        row += 1
    return "\n".join([*lines, "</svg>", ""])
