"""How the type of a document of users says what its keys may hold: `key` for a field, and limits for `Annotated`.

`hailbox.model.typed` reads documents by such a type, and `hailbox.model.schema` renders it.
"""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Between:
    """The least and the greatest number allowed."""

    least: float
    greatest: float


@dataclass(frozen=True)
class Matching:
    """A pattern for the whole text, and what such a text is called."""

    pattern: str
    called: str


@dataclass(frozen=True)
class Named:
    """What the keys of a mapping may be: one of `words`, or what matches `pattern`, if there is one."""

    words: tuple[str, ...]
    pattern: str | None = None

    def allows(self, word: str) -> bool:
        """Whether a key may be that word."""
        return word in self.words or (self.pattern is not None and re.fullmatch(self.pattern, word) is not None)


def key(doc: str, *, default: Any = None, factory: Any = dataclasses.MISSING, example: str = "") -> Any:
    """A field of a document's type. `doc` is a sentence for users; `example` is YAML for the value."""
    metadata = {"doc": doc, "example": example}
    if factory is not dataclasses.MISSING:
        return field(default_factory=factory, metadata=metadata)
    return field(default=default, metadata=metadata)
