"""The map of a stack as SVG: users above, what they use below, and faults where they act."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

from markupsafe import Markup

from hailbox.console.state import Health, ReplicaView, View

_WIDTH, _HEIGHT = 150, 78
_GAP, _RISE = 22, 46
_PER_ROW: Final = 4
_MARKS: Final = {Health.WORKS: "●", Health.HEALING: "◐", Health.FAULTY: "✕", Health.UNKNOWN: "…"}
"""So that colour is not the only difference."""


@dataclass(frozen=True)
class _Place:
    x: float
    y: float

    @property
    def middle(self) -> float:
        return self.x + _WIDTH / 2


def layers(replicas: Sequence[ReplicaView], links: Sequence[tuple[str, str]]) -> list[list[ReplicaView]]:
    """The replicas in rows: each above all that it uses; long rows are broken."""
    uses: dict[str, set[str]] = {}
    for user, used in links:
        uses.setdefault(user, set()).add(used)
    depth: dict[str, int] = {}

    def depth_of(name: str, seen: frozenset[str] = frozenset()) -> int:
        if name not in depth:
            below = [depth_of(used, seen | {name}) for used in uses.get(name, ()) if used not in seen]
            depth[name] = 1 + max(below, default=0)
        return depth[name]

    rows: dict[int, list[ReplicaView]] = {}
    for replica in replicas:
        rows.setdefault(depth_of(replica.name), []).append(replica)
    ordered = [rows[at] for at in sorted(rows, reverse=True)]
    return [row[at : at + _PER_ROW] for row in ordered for at in range(0, len(row), _PER_ROW)]


def draw(view: View, figures: Mapping[str, str]) -> Markup:
    """The map. `figures`: by replica, a line below its name."""
    rows = layers(view.replicas, view.links)
    most = max((len(row) for row in rows), default=1)
    width = max(2, most) * (_WIDTH + _GAP) + _GAP
    height = max(1, len(rows)) * (_HEIGHT + _RISE) - _RISE + 16
    places: dict[str, _Place] = {}
    for at, row in enumerate(rows):
        begin = (width - len(row) * (_WIDTH + _GAP) + _GAP) / 2
        for column, replica in enumerate(row):
            places[replica.name] = _Place(begin + column * (_WIDTH + _GAP), at * (_HEIGHT + _RISE) + 8)
    known = {replica.name: replica for replica in view.replicas}
    lines = [_link(known[user], known[used], places) for user, used in view.links]
    lines += [_cut(fault.targets, places) for fault in view.faults if fault.kind == "partition"]
    boxes = [_box(replica, places[replica.name], figures.get(replica.name, "")) for replica in view.replicas]
    return Markup('<svg class="map" viewBox="0 0 {} {}" width="{}" role="group" aria-label="{}">{}{}</svg>').format(
        width, height, width, f"Map of stack {view.stack}", Markup("").join(lines), Markup("").join(boxes)
    )


def _link(user: ReplicaView, used: ReplicaView, places: Mapping[str, _Place]) -> Markup:
    broken = Health.FAULTY in (user.health, used.health)
    begin, end = places[user.name], places[used.name]
    top, bottom = begin.y + _HEIGHT, end.y
    if bottom <= begin.y:  # side by side
        top, bottom = begin.y + _HEIGHT / 2, end.y + _HEIGHT / 2
    return Markup('<line class="link{}" x1="{}" y1="{}" x2="{}" y2="{}"/>').format(
        " broken" if broken else "", begin.middle, top, end.middle, bottom
    )


def _cut(targets: Sequence[str], places: Mapping[str, _Place]) -> Markup:
    """A partition between two replicas."""
    if len(targets) != 2 or not places.keys() >= set(targets):
        return Markup("")
    first, second = (places[target] for target in targets)
    x, y = (first.middle + second.middle) / 2, (first.y + second.y + _HEIGHT) / 2
    return Markup(
        '<line class="cut" x1="{}" y1="{}" x2="{}" y2="{}"/><text class="fault middle" x="{}" y="{}">⚡ {}</text>'
    ).format(first.middle, first.y + _HEIGHT / 2, second.middle, second.y + _HEIGHT / 2, x, y + 5, "partition")


def _box(replica: ReplicaView, place: _Place, figures: str) -> Markup:
    kinds = ", ".join(fault.kind for fault in replica.faults)
    fault = (
        Markup('<text class="fault" x="{}" y="{}">⚡ {}</text>').format(place.x + 12, place.y + 68, kinds)
        if kinds
        else Markup("")
    )
    said = f"{replica.name}: {replica.health.value}" + (f", fault {kinds}" if kinds else "")
    return Markup(
        '<a href="/replica/{}" class="box {}" id="box-{}" aria-label="{}">'
        '<rect x="{}" y="{}" width="{}" height="{}" rx="8"/>'
        '<text class="name" x="{}" y="{}">{} {}</text><text x="{}" y="{}">{}</text>'
        '<text class="small" x="{}" y="{}">{}</text>{}</a>'
    ).format(
        quote(replica.name), replica.health.value, replica.name, said,
        place.x, place.y, _WIDTH, _HEIGHT,
        place.x + 12, place.y + 22, _MARKS[replica.health], replica.name,
        place.x + 12, place.y + 39, replica.health.value,
        place.x + 12, place.y + (54 if kinds else 58), figures, fault,
    )  # fmt: skip
