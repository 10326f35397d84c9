"""Expression language of the image warehouse: text in, syntax tree out (iwhd.md 9.1 and 9.2).

Policies and queries are written in it. Evaluation is in haild.wire.iwhd.queryvalue.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

MAXIMUM_LENGTH: Final = 64 * 1024
"""Characters of an expression; more is refused."""

MAXIMUM_DEPTH: Final = 64
"""Nested parentheses, and the links of one field; more is refused, so that no text exhausts the stack."""

Relation = Literal["<", "<=", "==", "!=", ">=", ">"]
_RELATIONS: Final[dict[str, Relation]] = {sign: sign for sign in ("<", "<=", "==", "!=", ">=", ">")}


class ExpressionError(Exception):
    """The text is no expression; says what was found and where."""


@dataclass(frozen=True, slots=True)
class Number:
    """A number literal; always decimal, never negative."""

    value: int


@dataclass(frozen=True, slots=True)
class Text:
    """A string literal."""

    value: str


@dataclass(frozen=True, slots=True)
class Unusable:
    """A date or a bare identifier: it can be written, but its value is always an error."""

    source: str


@dataclass(frozen=True, slots=True)
class ObjectAttribute:
    """`$name`: an attribute of the object at hand."""

    name: str


@dataclass(frozen=True, slots=True)
class ProviderAttribute:
    """`#name`: an attribute of the provider that a policy is evaluated for."""

    name: str


@dataclass(frozen=True, slots=True)
class Link:
    """`target.name`: attribute `name` of the object that the text of `target` (BUCKET/KEY) points to."""

    target: Expression
    name: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two atoms and the relation between them."""

    relation: Relation
    left: Expression
    right: Expression


@dataclass(frozen=True, slots=True)
class Not:
    """Negation of a whole comparison."""

    operand: Expression


@dataclass(frozen=True, slots=True)
class Chain:
    """`first && a || b ...`: one precedence, left to right. Flat, so that a long chain is no deep tree."""

    first: Expression
    rest: tuple[tuple[Literal["&&", "||"], Expression], ...]


Expression = Number | Text | Unusable | ObjectAttribute | ProviderAttribute | Link | Comparison | Not | Chain

_TOKEN: Final = re.compile(
    r"""[ \t\r\n]*(?:
        (?P<string>"[^"]*")
      | (?P<date>~[^~]*~)
      | (?P<number>[0-9]+)
      | (?P<name>[A-Za-z_][A-Za-z0-9_]*)
      | (?P<sign><=|==|!=|>=|&&|\|\||[<>!().$\#])
      | (?P<end>\Z)
    )""",
    re.VERBOSE,
)


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    position: int


def _tokens(source: str) -> list[_Token]:
    tokens: list[_Token] = []
    position = 0
    while True:
        match = _TOKEN.match(source, position)
        if match is None or match.lastgroup is None:
            rest = source[position:].lstrip(" \t\r\n")
            raise ExpressionError(f"unexpected {rest[:1]!r} at character {len(source) - len(rest) + 1}")
        kind = match.lastgroup
        tokens.append(_Token(kind, match.group(kind), match.start(kind)))
        if kind == "end":
            return tokens
        position = match.end()


class _Parser:
    def __init__(self, source: str) -> None:
        self.tokens = _tokens(source)
        self.index = 0
        self.depth = 0

    @property
    def current(self) -> _Token:
        return self.tokens[self.index]

    def take_sign(self, *signs: str) -> str | None:
        token = self.current
        if token.kind != "sign" or token.text not in signs:
            return None
        self.index += 1
        return token.text

    def expected(self, what: str) -> ExpressionError:
        token = self.current
        found = "the end" if token.kind == "end" else repr(token.text[:40])
        return ExpressionError(f"expected {what} but found {found} at character {token.position + 1}")

    def name(self) -> str:
        token = self.current
        if token.kind != "name":
            raise self.expected("a name")
        self.index += 1
        return token.text

    def chain(self) -> Expression:
        first = self.unary()
        rest: list[tuple[Literal["&&", "||"], Expression]] = []
        while True:
            if self.take_sign("&&"):
                rest.append(("&&", self.unary()))
            elif self.take_sign("||"):
                rest.append(("||", self.unary()))
            else:
                return Chain(first, tuple(rest)) if rest else first

    def unary(self) -> Expression:
        if self.take_sign("!"):
            return Not(self.comparison())
        return self.comparison()

    def comparison(self) -> Expression:
        left = self.atom()
        sign = self.take_sign(*_RELATIONS)
        if sign is None:
            return left
        return Comparison(_RELATIONS[sign], left, self.atom())

    def atom(self) -> Expression:
        if self.take_sign("("):
            self.depth += 1
            if self.depth > MAXIMUM_DEPTH:
                raise ExpressionError(f"more than {MAXIMUM_DEPTH} nested parentheses")
            inner = self.chain()
            if not self.take_sign(")"):
                raise self.expected("')'")
            self.depth -= 1
            return inner
        if self.take_sign("$"):
            return self.links(ObjectAttribute(self.name()))
        if self.take_sign("#"):
            return self.links(ProviderAttribute(self.name()))
        return self.literal()

    def links(self, field: Expression) -> Expression:
        count = 0
        while self.take_sign("."):
            count += 1
            if count > MAXIMUM_DEPTH:
                raise ExpressionError(f"more than {MAXIMUM_DEPTH} links in one field")
            field = Link(field, self.name())
        return field

    def literal(self) -> Expression:
        token = self.current
        make = _LITERALS.get(token.kind)
        if make is None:
            raise self.expected("a value")
        self.index += 1
        return make(token.text)


def _number(text: str) -> Expression:
    digits = text.lstrip("0")
    if len(digits) > 4000:
        raise ExpressionError(f"a number of {len(digits)} digits")
    return Number(int(digits or "0"))


_LITERALS: Final[dict[str, Callable[[str], Expression]]] = {
    "string": lambda text: Text(text[1:-1]),
    "date": Unusable,
    "name": Unusable,
    "number": _number,
}


def parse(source: str) -> Expression:
    """The syntax tree of `source`.

    Identifiers may hold capitals and digits, as iwhd.md 9.1 recommends. Raises ExpressionError for
    everything that the grammar does not derive, the empty text included.
    """
    if len(source) > MAXIMUM_LENGTH:
        raise ExpressionError(f"{len(source)} characters are more than an expression may have")
    parser = _Parser(source)
    expression = parser.chain()
    if parser.current.kind != "end":
        raise parser.expected("an operator or the end")
    return expression
