"""As much of JSON Schema 2020-12 as our schemas use. Stricter in one thing: an object has no key without a schema."""

from typing import Any

_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
    "array": (list,),
    "object": (dict,),
}


def troubles(value: Any, schema: dict[str, Any], root: dict[str, Any], place: str = "$") -> list[str]:
    """What is wrong with a value, a line each."""
    if reference := schema.get("$ref"):
        return troubles(value, root["$defs"][reference.rpartition("/")[2]], root, place)
    if "anyOf" in schema:
        each = [troubles(value, part, root, place) for part in schema["anyOf"]]
        return [] if any(not found for found in each) else min(each, key=len)
    if "const" in schema or "enum" in schema:
        allowed = schema.get("enum", [schema.get("const")])
        return [] if value in allowed else [f"{place}: {value!r} is none of {allowed}"]
    kinds = schema.get("type", list(_TYPES))
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if not any(_is(value, kind) for kind in kinds):
        return [f"{place}: {value!r} is not of {kinds}"]
    if isinstance(value, list):
        wanted = schema.get("prefixItems") or [schema.get("items", {})] * len(value)
        if len(wanted) != len(value):
            return [f"{place}: {len(value)} items in place of {len(wanted)}"]
        parts = zip(value, wanted, strict=True)
        return [line for i, (item, part) in enumerate(parts) for line in troubles(item, part, root, f"{place}[{i}]")]
    if isinstance(value, dict) and schema:
        return _object(value, schema, root, place)
    return []


def _is(value: Any, kind: str) -> bool:
    return isinstance(value, _TYPES[kind]) and (kind == "boolean" or not isinstance(value, bool))


def _object(value: dict[str, Any], schema: dict[str, Any], root: dict[str, Any], place: str) -> list[str]:
    known, others = schema.get("properties", {}), schema.get("additionalProperties")
    found = [f"{place}: {name} is missing" for name in schema.get("required", []) if name not in value]
    for name, entry in value.items():
        part = known.get(name, others)
        if part is None:
            found.append(f"{place}: {name} is in no schema")
        else:
            found += troubles(entry, part, root, f"{place}.{name}")
    return found
