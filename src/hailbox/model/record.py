"""What a stack is: what the last `up` decided, as every object of the stack carries it in a label.

So any one container, volume or network suffices to know the stack. The record on a volume or network never changes,
as Compose would re-create the object; containers get the newest one when they are made. The generation tells which of
two records is the newer.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from hailbox.model import names
from hailbox.model.config import PORT_NUMBERS, REPLICA_COUNTS
from hailbox.model.overrides import NO_JSON, Recorded, label, recorded, usable

UPSTREAM: Final = "upstream"
CREDENTIALS: Final = ("random", UPSTREAM)
"""Of `hailbox.yaml`: by secrets, or as the originals know their users (cld.md 3.4, chunkd.md 2.1)."""


@dataclass(frozen=True)
class Record:
    """Profile, scale, images and ports of a stack."""

    profile: str
    """Empty where an older hailbox recorded none."""
    definition: Mapping[str, Any] | None = None
    """Of a profile that does not ship with hailbox: the content of its file."""
    scale: Mapping[str, int] = field(default_factory=dict)
    """By service: the number of replicas, where it differs from the profile's."""
    images: Mapping[str, str] = field(default_factory=dict)
    """By service: an image of the user's own."""
    ports: Mapping[tuple[str, str], int] = field(default_factory=dict)
    """By replica and port name: the port on the host."""
    overrides: Recorded = field(default_factory=dict)
    """By service or replica: what else is the user's own."""
    credentials: str = ""
    """How cld and chunkd know their users, one of CREDENTIALS; empty where an older hailbox recorded none."""
    without: tuple[str, ...] = ()
    """The services that are left out."""
    generation: int = 0

    @property
    def upstream_credentials(self) -> bool:
        """Whether the secret of a user is its name. Of a stack with own images it was, until that was recorded."""
        return self.credentials == UPSTREAM or (not self.credentials and bool(self.images))

    def text(self) -> str:
        """The label's value: JSON, the same for equal records."""
        ports = {f"{replica}.{port}": number for (replica, port), number in self.ports.items()}
        known: dict[str, Any] = {
            "generation": self.generation,
            "profile": self.profile,
            "definition": self.definition,
            "scale": dict(self.scale),
            "images": dict(self.images),
            "ports": ports,
            "overrides": self.overrides,
            "credentials": self.credentials,
            "without": list(self.without),
        }
        kept = {key: value for key, value in known.items() if value or key in ("generation", "profile")}
        return json.dumps(kept, sort_keys=True, separators=(",", ":"), default=str)

    def after(self, known: Record | None) -> Record:
        """This record as the successor of the newest one `known`: of its generation if it says the same."""
        if known is None:
            return replace(self, generation=1)
        same = replace(self, generation=known.generation)
        return same if same.text() == known.text() else replace(self, generation=known.generation + 1)


def parse(text: str) -> Record | None:
    """The record in a label's value; None if it is not one, such as what a user has written there."""
    try:
        found = json.loads(text)
        ports = {
            tuple(name.rsplit(".", 1)): _number(number, PORT_NUMBERS)
            for name, number in found.get("ports", {}).items()
        }
        return Record(
            profile=str(found["profile"]),
            definition=_mapping(found.get("definition")),
            scale={str(name): _number(count, REPLICA_COUNTS) for name, count in found.get("scale", {}).items()},
            images={str(name): str(image) for name, image in found.get("images", {}).items()},
            ports={(replica, port): number for (replica, port), number in ports.items()},
            overrides=usable(found.get("overrides", {})),
            without=tuple(str(service) for service in found.get("without", ())),
            credentials=found["credentials"] if found.get("credentials") in CREDENTIALS else "",
            generation=int(found["generation"]),
        )
    except (*NO_JSON, TypeError, KeyError, AttributeError):
        return None


def _number(value: Any, allowed: range) -> int:
    """The number. Raises ValueError for one that we never write: a stack of a billion replicas cannot be planned."""
    number = int(value)
    if number not in allowed:
        raise ValueError
    return number


def _mapping(value: Any) -> Mapping[str, Any] | None:
    return value if isinstance(value, dict) else None


def parse_older(labels: Mapping[str, str]) -> Record | None:
    """The record in the labels of a one-shot container of hailbox 0.1, which had one label for each part."""
    ports: dict[tuple[str, str], int] = {}
    for name, value in labels.items():
        if name.startswith(names.PORT) and value.isascii() and value.isdecimal() and len(value) < 6:
            replica, _, port = name.removeprefix(names.PORT).rpartition(".")
            ports[replica, port] = int(value)
    if not ports and names.PROFILE not in labels:
        return None
    scale = {}
    for service, count in _pairs(labels.get(names.SCALE, "")):
        if count.isascii() and count.isdecimal() and len(count) < 4:
            scale[service] = int(count)
    try:
        definition = _mapping(json.loads(labels.get(names.DEFINITION, "null")))
    except NO_JSON:
        definition = None
    images = {service: image for service, image in _pairs(labels.get(names.IMAGES, "")) if image}
    own = recorded(labels.get(names.OVERRIDES))
    return Record(labels.get(names.PROFILE, ""), definition, scale, images, ports, own)


def _pairs(text: str) -> list[tuple[str, str]]:
    return [(name, value) for name, _, value in (item.partition("=") for item in text.split())]


def older_labels(record: Record) -> dict[str, str]:
    """The labels of the one-shot container that hailbox 0.1, and users' scripts, know."""
    labels = {
        names.PROFILE: record.profile,
        names.SCALE: " ".join(f"{service}={count}" for service, count in sorted(record.scale.items())),
    }
    if record.images:
        labels[names.IMAGES] = " ".join(f"{service}={image}" for service, image in sorted(record.images.items()))
    if record.overrides:
        labels[names.OVERRIDES] = label(record.overrides)
    if record.definition is not None:
        labels[names.DEFINITION] = json.dumps(record.definition, sort_keys=True, default=str)
    return labels | {f"{names.PORT}{replica}.{port}": str(number) for (replica, port), number in record.ports.items()}


def newest(labelled: Iterable[Mapping[str, str]]) -> Record | None:
    """The newest record on these objects, given by their labels; None if none has one."""
    found = [record for labels in labelled if names.RECORD in labels if (record := parse(labels[names.RECORD]))]
    if found:
        return max(found, key=lambda record: record.generation)
    older = [record for labels in labelled if (record := parse_older(labels))]
    return older[0] if older else None
