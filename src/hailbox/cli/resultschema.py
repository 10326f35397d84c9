"""JSON Schema of what `--json` prints: the envelope (hailbox.cli.envelope) with the typed result of a command."""

from __future__ import annotations

import dataclasses
import enum
import inspect
import types
import typing
from collections.abc import Mapping, Sequence, Set
from typing import Any, Final, Literal, Union

from hailbox.cli.envelope import VERSION
from hailbox.model.schema import DIALECT

_TYPES: Final[Mapping[Any, str]] = {
    str: "string",
    int: "integer",
    float: "number",
    bool: "boolean",
    type(None): "null",
}


def envelope_schema(command: str, result: Any) -> dict[str, Any]:
    """The schema of what a command prints; `result`: the type of its result, None for one that has none."""
    definitions: dict[str, Any] = {}
    data = of(result, definitions) if result is not None else {"type": "null"}
    error = {name: {"type": "string"} for name in ("code", "problem", "remedy")}
    properties = {
        "version": {"const": VERSION},
        "command": {"const": command},
        "stack": {"type": ["string", "null"]},
        "status": {"enum": ["ok", "error"]},
        "exit_code": {"type": "integer"},
        "data": {"anyOf": [data, {"type": "null"}]} if result is not None else data,
        "errors": {"type": "array", "items": {"type": "object", "required": list(error), "properties": error}},
    }
    return {
        "$schema": DIALECT,
        "title": f"hailbox {command} --json",
        "type": "object",
        "required": list(properties),
        "properties": properties,
    } | ({"$defs": definitions} if definitions else {})


def of(kind: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    """The schema of values of a type, as `envelope.plain` writes them; data classes go to `definitions`."""
    origin, parts = typing.get_origin(kind), typing.get_args(kind)
    if kind is Any:
        return {}
    if kind in _TYPES:
        return {"type": _TYPES[kind]}
    if origin in (Union, types.UnionType):
        return {"anyOf": [of(part, definitions) for part in parts]}
    if origin is Literal:
        return {"enum": list(parts)}
    if dataclasses.is_dataclass(kind):
        name = typing.cast(type[Any], kind).__name__
        if name not in definitions:
            definitions[name] = {}  # for a type that contains itself
            definitions[name] = _object(kind, definitions)
        return {"$ref": f"#/$defs/{name}"}
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return {"enum": [member.value for member in kind]}
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return {"type": "object", "additionalProperties": of(parts[1], definitions)}
    if isinstance(origin, type) and issubclass(origin, (Sequence, Set)):
        if origin is tuple and parts[-1] is not Ellipsis:
            items = [of(part, definitions) for part in parts]
            return {"type": "array", "prefixItems": items, "minItems": len(items), "maxItems": len(items)}
        return {"type": "array", "items": of(parts[0], definitions)}
    raise TypeError(f"no JSON is known for {kind!r}")


def _object(kind: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    hints = typing.get_type_hints(kind, include_extras=False)
    properties = {field.name: of(hints[field.name], definitions) for field in dataclasses.fields(kind)}
    text = (inspect.getdoc(kind) or "").split("\n\n")[0].replace("\n", " ")
    described = {} if text.startswith(f"{kind.__name__}(") else {"description": text}
    return {"type": "object", **described, "required": list(properties), "properties": properties}
