"""JSON Schema of a document's type, and a commented document to begin with. See `hailbox.model.keys`."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, Union

from hailbox.model.keys import Between, Matching, Named
from hailbox.model.typed import hints

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"

_TYPES: Final[Mapping[Any, str]] = {str: "string", int: "integer", float: "number", bool: "boolean"}


def schema(kind: type[Any], title: str) -> dict[str, Any]:
    """The JSON Schema (2020-12) of documents of that type."""
    return {"$schema": DIALECT, "title": title, **_of(kind)}


def _of(kind: Any) -> dict[str, Any]:
    limits: tuple[Any, ...] = ()
    if typing.get_origin(kind) is Annotated:
        kind, *rest = typing.get_args(kind)
        limits = tuple(rest)
    origin = typing.get_origin(kind)
    if kind is Any:
        return {}
    if origin in (Union, types.UnionType):
        parts = [_of(part) | _limits(limits) for part in typing.get_args(kind) if part is not type(None)]
        return parts[0] if len(parts) == 1 else {"anyOf": parts}
    if origin is Literal:
        return {"enum": list(typing.get_args(kind))}
    if origin is tuple:
        return {"type": "array", "items": _of(typing.get_args(kind)[0])}
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return {"type": "object", **_names(typing.get_args(kind)[1], limits)}
    if dataclasses.is_dataclass(kind):
        return _object(typing.cast(type[Any], kind))
    return {"type": _TYPES[kind]} | ({"minLength": 1} if kind is str else {}) | _limits(limits)


def _nullable(described: dict[str, Any]) -> dict[str, Any]:
    """A key without a value chooses nothing."""
    return {"anyOf": [described, {"type": "null"}]}


def _object(kind: type[Any]) -> dict[str, Any]:
    properties = {
        entry.name: {"description": entry.metadata["doc"]} | _nullable(_of(hints(kind)[entry.name]))
        for entry in dataclasses.fields(kind)
    }
    return {"type": "object", "additionalProperties": False, "properties": properties}


def _names(value: Any, limits: tuple[Any, ...]) -> dict[str, Any]:
    for limit in limits:
        if isinstance(limit, Named):
            words = {"properties": {word: _of(value) for word in limit.words}, "additionalProperties": False}
            return words | ({"patternProperties": {f"^{limit.pattern}$": _of(value)}} if limit.pattern else {})
    return {"additionalProperties": _of(value)}


def _limits(limits: tuple[Any, ...]) -> dict[str, Any]:
    described: dict[str, Any] = {}
    for limit in limits:
        if isinstance(limit, Between):
            described |= {"minimum": limit.least, "maximum": limit.greatest}
        elif isinstance(limit, Matching):
            described |= {"pattern": f"^(?:{limit.pattern})$"}
    return described


def example(kind: type[Any], heading: str) -> str:
    """A document of that type in which every key is explained and commented out."""
    lines = [f"# {line}".rstrip() for line in heading.splitlines()]
    for entry in dataclasses.fields(kind):
        lines += ["", f"# {entry.metadata['doc']}", f"# {entry.name}: {entry.metadata['example']}".rstrip()]
        inner = _document_within(hints(kind)[entry.name])
        if inner is not None:
            lines.append("# Keys of each:")
            lines += [
                f"#   {part.name}: {part.metadata['example'] or '...'}   # {part.metadata['doc']}"
                for part in dataclasses.fields(inner)
            ]
    return "\n".join(lines) + "\n"


def _document_within(kind: Any) -> type[Any] | None:
    """The dataclass that the values of a mapping are, if they are one."""
    if typing.get_origin(kind) is Annotated:
        kind = typing.get_args(kind)[0]
    parts = typing.get_args(kind)
    if len(parts) == 2 and dataclasses.is_dataclass(parts[1]):
        return typing.cast(type[Any], parts[1])
    return None
