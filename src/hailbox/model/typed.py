"""Typed values from YAML documents.

A document's type is a frozen dataclass whose fields are its keys (`hailbox.model.keys`). The annotation of a field
says what it may hold: `str`, `int`, `float`, `bool`, `Literal`, `X | None`, `tuple[X, ...]`, `Mapping[str, X]`,
another such dataclass, or `Any`; `Annotated` adds limits. `read` follows the annotations over the nodes of a
document, so every refusal names file, line and column.
"""

from __future__ import annotations

import dataclasses
import difflib
import re
import types
import typing
from collections.abc import Callable, Collection, Mapping
from typing import Annotated, Any, Final, Literal, TypeVar, Union

import yaml

from hailbox.model.document import Document, is_null, place_of, refuse
from hailbox.model.keys import Between, Matching, Named

T = TypeVar("T")

_INTEGER: Final = "tag:yaml.org,2002:int"
_FLOAT: Final = "tag:yaml.org,2002:float"
_BOOLEAN: Final = "tag:yaml.org,2002:bool"
_TEXT: Final = "tag:yaml.org,2002:str"
_DIGITS: Final = 40
"""Characters of the longest number; Python refuses to read one of thousands."""
_QUOTABLE: Final = 60
"""Characters of a value that a message repeats."""


def hints(kind: type[Any]) -> Mapping[str, Any]:
    """The annotations of a document's type, `Annotated` included, by key."""
    return typing.get_type_hints(kind, include_extras=True)


def nearest(word: str, words: Collection[str]) -> str:
    """`; did you mean 'X'?`, or nothing if no word is near."""
    found = difflib.get_close_matches(word.lower(), words, n=1)
    return f"; did you mean {found[0]!r}?" if found else ""


def read(document: Document, kind: type[T]) -> T:
    """The document as that dataclass. Raises ConfigurationError with the place of the first thing that is wrong."""
    if document.root is None or is_null(document.root):
        return kind()
    return typing.cast(T, _mapping(document.root, kind, ""))


def _shown(node: yaml.Node) -> str:
    """A value as a message repeats it."""
    if isinstance(node, yaml.ScalarNode):
        text = repr(node.value) if node.tag == _TEXT else node.value or "empty"
        return text if len(text) <= _QUOTABLE and text.isprintable() else repr(node.value[:_QUOTABLE]) + "..."
    return "a list" if isinstance(node, yaml.SequenceNode) else "a mapping"


def _wrong(node: yaml.Node, path: str, remedy: str) -> typing.NoReturn:
    refuse(place_of(node), f"{path or 'the document'} is {_shown(node)}", remedy)


def _join(path: str, word: str) -> str:
    shown = word if word.isprintable() else ascii(word)[1:-1]
    return f"{path}.{shown}" if path else shown


def _mapping(node: yaml.Node, kind: type[Any], path: str) -> Any:
    """A mapping node as a dataclass."""
    known = hints(kind)
    allowed = f"its keys may be: {', '.join(sorted(known))}"
    if not isinstance(node, yaml.MappingNode):
        _wrong(node, path, f"write a mapping; {allowed}")
    values = {}
    for name, value in node.value:
        word = name.value
        if word not in known:
            where = f" in {path}" if path else ""
            refuse(place_of(name), f"unknown key {word!r}{where}{nearest(word, known)}", allowed)
        if not is_null(value):
            values[word] = _value(value, known[word], _join(path, word))
    try:
        return kind(**values)
    except TypeError:
        missing = [f.name for f in dataclasses.fields(kind) if f.name not in values and _is_required(f)]
        refuse(place_of(node), f"{path or 'the document'} has no {missing[0]!r}", f"add the key {missing[0]!r}")


def _is_required(entry: dataclasses.Field[Any]) -> bool:
    return entry.default is dataclasses.MISSING and entry.default_factory is dataclasses.MISSING


def _value(node: yaml.Node, kind: Any, path: str) -> Any:
    limits: tuple[Any, ...] = ()
    if typing.get_origin(kind) is Annotated:
        kind, *rest = typing.get_args(kind)
        limits = tuple(rest)
    origin = typing.get_origin(kind)
    if kind is Any:
        return plain(node)
    if origin in (Union, types.UnionType):
        return _one_of(node, [part for part in typing.get_args(kind) if part is not type(None)], limits, path)
    if origin is Literal:
        return _word(node, typing.get_args(kind), path)
    if origin is tuple:
        return _list(node, typing.get_args(kind)[0], path)
    if origin is not None and issubclass(origin, Mapping):
        return _dictionary(node, typing.get_args(kind)[1], limits, path)
    if dataclasses.is_dataclass(kind):
        return _mapping(node, typing.cast(type[Any], kind), path)
    return _SCALARS[kind](node, limits, path)


def _fits(node: yaml.Node, kind: Any) -> bool:
    """Whether a node has the form that a part of a union wants."""
    if typing.get_origin(kind) is Annotated:
        kind = typing.get_args(kind)[0]
    origin = typing.get_origin(kind)
    if origin is tuple:
        return isinstance(node, yaml.SequenceNode)
    if dataclasses.is_dataclass(kind) or (isinstance(origin, type) and issubclass(origin, Mapping)):
        return isinstance(node, yaml.MappingNode)
    tags = {str: (_TEXT,), int: (_INTEGER,), float: (_INTEGER, _FLOAT), bool: (_BOOLEAN,)}
    return isinstance(node, yaml.ScalarNode) and (kind not in tags or node.tag in tags[kind])


def _one_of(node: yaml.Node, parts: list[Any], limits: tuple[Any, ...], path: str) -> Any:
    for part in parts:
        if _fits(node, part):
            return _value(node, Annotated[part, *limits] if limits else part, path)
    # The first part is the usual form; its message says what to write.
    return _value(node, Annotated[parts[0], *limits] if limits else parts[0], path)


def _word(node: yaml.Node, words: tuple[str, ...], path: str) -> str:
    if not isinstance(node, yaml.ScalarNode) or node.value not in words:
        near = nearest(node.value, words) if isinstance(node, yaml.ScalarNode) else ""
        _wrong(node, path, f"use one of: {', '.join(words)}{near}")
    return str(node.value)


def _list(node: yaml.Node, kind: Any, path: str) -> tuple[Any, ...]:
    if not isinstance(node, yaml.SequenceNode):
        _wrong(node, path, f"write a list, such as: {path.rpartition('.')[2]}: [...]")
    return tuple(_value(entry, kind, f"{path}[{index}]") for index, entry in enumerate(node.value))


def _dictionary(node: yaml.Node, kind: Any, limits: tuple[Any, ...], path: str) -> dict[str, Any]:
    if not isinstance(node, yaml.MappingNode):
        _wrong(node, path, f"make {path} a mapping of names to values")
    named = next((limit for limit in limits if isinstance(limit, Named)), None)
    values = {}
    for name, value in node.value:
        if named is not None and not named.allows(name.value):
            problem = f"unknown name {name.value!r} in {path}{nearest(name.value, named.words)}"
            refuse(place_of(name), problem, f"it may be: {', '.join(named.words)}")
        values[name.value] = _value(value, kind, _join(path, name.value))
    return values


def _text(node: yaml.Node, limits: tuple[Any, ...], path: str) -> str:
    if not isinstance(node, yaml.ScalarNode) or node.tag != _TEXT or not node.value:
        scalar = isinstance(node, yaml.ScalarNode) and node.value
        _wrong(node, path, f"make {path} a text" + (f'; write "{node.value}" in quotes' if scalar else ""))
    for limit in limits:
        if isinstance(limit, Matching) and not re.fullmatch(limit.pattern, node.value):
            _wrong(node, path, f"write {limit.called}")
    return str(node.value)


def _between(node: yaml.Node, number: float, limits: tuple[Any, ...], path: str) -> None:
    for limit in limits:
        if isinstance(limit, Between) and not limit.least <= number <= limit.greatest:
            _wrong(node, path, f"use a number from {limit.least:g} to {limit.greatest:g}")


def _number(node: yaml.Node, limits: tuple[Any, ...], path: str, tags: tuple[str, ...]) -> Any:
    between = next((limit for limit in limits if isinstance(limit, Between)), None)
    remedy = f"use a number from {between.least:g} to {between.greatest:g}" if between else "use a number"
    if not isinstance(node, yaml.ScalarNode) or node.tag not in tags:
        _wrong(node, path, remedy)
    if len(node.value) > _DIGITS:
        _wrong(node, path, remedy)
    number = plain(node)
    _between(node, number, limits, path)
    return number


def _integer(node: yaml.Node, limits: tuple[Any, ...], path: str) -> int:
    return int(_number(node, limits, path, (_INTEGER,)))


def _decimal(node: yaml.Node, limits: tuple[Any, ...], path: str) -> float:
    return float(_number(node, limits, path, (_INTEGER, _FLOAT)))


def _boolean(node: yaml.Node, _limits: tuple[Any, ...], path: str) -> bool:
    if not isinstance(node, yaml.ScalarNode) or node.tag != _BOOLEAN:
        _wrong(node, path, "write true or false")
    return bool(plain(node))


_SCALARS: Final[Mapping[Any, Callable[[yaml.Node, tuple[Any, ...], str], Any]]] = {
    str: _text,
    int: _integer,
    float: _decimal,
    bool: _boolean,
}


def plain(node: yaml.Node) -> Any:
    """A node as YAML understands it: texts, numbers, lists and dictionaries."""
    constructor = yaml.constructor.SafeConstructor()
    try:
        return constructor.construct_document(node)
    except (ValueError, yaml.YAMLError):
        refuse(place_of(node), f"{_shown(node)} is not a value", "write a text in quotes")
