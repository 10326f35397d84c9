"""Expression language of the image warehouse: the value of an expression (iwhd.md 9.3 and 9.4).

Texts compare bytewise, so that any stored bytes take part; a str stands for its UTF-8 with surrogateescape.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from haild.wire.iwhd.query import (
    Chain,
    Comparison,
    Expression,
    Link,
    Not,
    Number,
    ObjectAttribute,
    ProviderAttribute,
    Relation,
    Text,
)
from haild.wire.iwhd.target import MAXIMUM_NAME

MAXIMUM_DIGITS: Final = 4000
"""A longer text of digits does not count as a number: the conversion would take too long."""


class Truth(Enum):
    """What an expression yields. Only TRUE selects."""

    TRUE = "true"
    FALSE = "false"
    ERROR = "error"


Attribute = Callable[[str], bytes | str | None]
"""The value of an attribute by its name; None where there is none."""

Linked = Callable[[str, str, str], bytes | str | None]
"""The value of an attribute of another object: bucket, key, name."""


def _no_link(_bucket: str, _key: str, _name: str) -> bytes | str | None:
    return None


@dataclass(frozen=True, slots=True)
class Context:
    """Where the fields of an expression get their values.

    `provider` None says that this is a query: `#name` is an error there, and a missing attribute reads as
    the empty text. In a policy a missing attribute has no text.
    """

    attribute: Attribute
    provider: Attribute | None = None
    linked: Linked = _no_link


_RELATIONS: Final[Mapping[Relation, Callable[[Any, Any], bool]]] = {
    "<": operator.lt,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
    ">=": operator.ge,
    ">": operator.gt,
}


class _NoValueError(Exception):
    """The expression has no value here."""


def evaluate(expression: Expression, context: Context) -> Truth:
    """The truth of `expression` in `context`. Raises only what the functions of `context` raise."""
    try:
        return _truth(expression, context)
    except _NoValueError:
        return Truth.ERROR


def selects(expression: Expression, context: Context) -> bool:
    """Whether `expression` is true: errors do not select."""
    return evaluate(expression, context) is Truth.TRUE


def _truth(expression: Expression, context: Context) -> Truth:
    match expression:
        case Number(value):
            return _of(value != 0)
        case Text(value):
            return _of(value != "")
        case ObjectAttribute() | ProviderAttribute() | Link():
            return _of(bool(_text(expression, context)))
        case Comparison(relation, left, right):
            return _of(_compare(relation, left, right, context))
        case Not(operand):
            inner = evaluate(operand, context)
            return inner if inner is Truth.ERROR else _of(inner is Truth.FALSE)
        case Chain(first, rest):
            result = evaluate(first, context)
            for sign, operand in rest:
                if (result is Truth.TRUE) == (sign == "&&"):
                    result = evaluate(operand, context)
            return result
        case _:
            return Truth.ERROR


def _of(value: bool) -> Truth:
    return Truth.TRUE if value else Truth.FALSE


def _text(expression: Expression, context: Context) -> bytes | None:
    """The text of a string or field; None if it has none. Raises _NoValueError for `#name` in a query."""
    match expression:
        case Text(value):
            return _bytes(value)
        case ObjectAttribute(name):
            return _bytes(context.attribute(name))
        case ProviderAttribute(name):
            if context.provider is None:
                raise _NoValueError
            return _bytes(context.provider(name))
        case Link(target, name):
            bucket, slash, key = (_text(target, context) or b"").partition(b"/")
            if not slash or len(bucket) > MAXIMUM_NAME or len(key) > MAXIMUM_NAME:
                return None
            return _bytes(context.linked(_str(bucket), _str(key), name))
        case _:
            return None


def _side(expression: Expression, context: Context) -> tuple[int | None, bytes | None]:
    """A side of a comparison as (number, text), either None where it has none."""
    if isinstance(expression, Number):
        return expression.value, None
    if isinstance(expression, Text | ObjectAttribute | ProviderAttribute | Link):
        text = _text(expression, context)
        if text is None:
            # Missing: truth value 0 for a comparison with a number; in a query it also reads as "".
            return 0, b"" if context.provider is None else None
        return _digits(text), text
    truth = evaluate(expression, context)
    if truth is Truth.ERROR:
        raise _NoValueError
    return int(truth is Truth.TRUE), None


def _digits(text: bytes) -> int | None:
    """The value of a text of digits, plain decimal; the empty text is 0; None for any other text."""
    if not text:
        return 0
    return int(text) if len(text) <= MAXIMUM_DIGITS and text.isdigit() else None


def _compare(relation: Relation, left: Expression, right: Expression, context: Context) -> bool:
    left_number, left_text = _side(left, context)
    right_number, right_text = _side(right, context)
    if left_number is not None and right_number is not None:
        return bool(_RELATIONS[relation](left_number, right_number))
    if left_text is None or right_text is None:
        raise _NoValueError
    return bool(_RELATIONS[relation](left_text, right_text))


def _bytes(value: bytes | str | None) -> bytes | None:
    return value.encode("utf-8", "surrogateescape") if isinstance(value, str) else value


def _str(value: bytes) -> str:
    return value.decode("utf-8", "surrogateescape")
