"""Queries and policies of the image warehouse: `haild.wire.iwhd.query` and `haild.wire.iwhd.queryvalue`."""

from collections.abc import Iterator

from haild.wire.iwhd.query import Expression, ExpressionError, parse
from haild.wire.iwhd.queryvalue import Context, Truth, evaluate

TOKENS = (b"&&", b"||", b"==", b"!=", b"<=", b">=", b"$a", b"$link.a", b"#name", b'"x"', b"~now~", b"!(", b"010")

ATTRIBUTES = {"a": "2", "color": "blue", "empty": "", "link": "b/k", "big": "9" * 5000, "odd": "\udcff"}
QUERY = Context(ATTRIBUTES.get, linked=lambda bucket, key, name: ATTRIBUTES.get(name))
POLICY = Context(ATTRIBUTES.get, {"name": "p", "type": "fs"}.get, lambda bucket, key, name: None)


def seeds() -> Iterator[bytes]:
    yield b'($build == "0b9a7f6c" && $target_image == "mock") || !($a.b.c < 10)'
    yield b'#type == "s3" && $color != "red" || 1 >= 010'
    yield b'""==0 && "a10"<"a9" && $big > 5 && $odd > "a" && $link.a == $a'


def fuzz(data: bytes) -> None:
    source = data.decode("utf-8", "surrogateescape")
    expression = _parsed(source)
    if expression is None:
        return
    assert _parsed(f" ({source}) ") in (expression, None)  # None: one level too deep, or too long
    for context in (QUERY, POLICY):
        truth = evaluate(expression, context)
        negated = _parsed(f"!({source})")
        if negated is not None:
            opposite = {Truth.TRUE: Truth.FALSE, Truth.FALSE: Truth.TRUE, Truth.ERROR: Truth.ERROR}[truth]
            assert evaluate(negated, context) is opposite


def _parsed(source: str) -> Expression | None:
    try:
        return parse(source)
    except ExpressionError:
        return None
