"""The expression language of iwhd against the table and the verified examples of iwhd.md section 9."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from haild.wire.iwhd import query as iwhql
from haild.wire.iwhd.queryvalue import Context, Truth, evaluate, selects

OBJECT = {"a": "2", "color": "blue", "big": "4294967297", "neg": "-3", "empty": "", "octal": "010"}
OBJECT |= {"Build2": "x", "parent": "images/base", "noslash": "base"}
OTHERS = {("images", "base"): {"os": "f14", "next": "images/root"}, ("images", "root"): {"os": "root"}}
PROVIDER = {"name": "west", "type": "s3", "host": "h"}


def linked(bucket: str, key: str, name: str) -> str | None:
    return OTHERS.get((bucket, key), {}).get(name)


QUERY = Context(OBJECT.get, linked=linked)
POLICY = Context(OBJECT.get, PROVIDER.get, linked)


def value(source: str, context: Context = QUERY) -> str:
    return evaluate(iwhql.parse(source), context).value


@pytest.mark.parametrize("context", [QUERY, POLICY], ids=["query", "policy"])
@pytest.mark.parametrize(
    ("source", "expected"),
    [
        # section 9.2
        ("1||0&&0", "false"),
        ("!$a==2", "false"),
        ("!(!1)", "true"),
        ("!(!$a)", "true"),
        # section 9.3
        ("1", "true"),
        ("0", "false"),
        ("00", "false"),
        ('"x"', "true"),
        ('""', "false"),
        ("$a", "true"),
        ("$ a", "true"),
        ("$empty", "false"),
        ("$missing", "false"),
        ("~2011-01-01~", "error"),
        ("foo", "error"),
        ('$parent.os == "f14"', "true"),
        ('$parent.next.os == "root"', "true"),
        ("$noslash.os", "false"),
        ("$parent.nothing", "false"),
        # section 9.4, verified examples
        ('$a=="2"', "true"),
        ('"10"<"9"', "false"),
        ('"a10"<"a9"', "true"),
        ("(1==1)==1", "true"),
        ("$neg<0", "error"),
        ("foo||1", "true"),
        ("0||foo", "error"),
        ("foo&&1", "error"),
        ('""==0', "true"),
        ("$color == 5", "error"),
        ("$color != 5", "error"),
        ("!($color == 5)", "error"),
        # plain decimal, unbounded (BUG notes)
        ("$octal == 10", "true"),
        ("$big == 4294967297", "true"),
        ("$big == 1", "false"),
        ("0&&foo", "false"),
        ("1||foo", "true"),
        ("!foo", "error"),
        ("(foo)==1", "error"),
        ('$Build2 == "x"', "true"),
        ('$color>="blue"&&$color<="blue"', "true"),
        ('($color == "blue" && $a == "2")', "true"),
    ],
)
def test_value(source: str, expected: str, context: Context) -> None:
    assert value(source, context) == expected


@pytest.mark.parametrize(
    ("source", "in_query", "in_policy"),
    [
        ("$x == 0", "true", "true"),
        ("$x < 5", "true", "true"),
        ('$x == "foo"', "false", "error"),
        ('$x != "foo"', "true", "error"),
        ('!($x == "foo")', "true", "error"),
        ('#type == "s3"', "error", "true"),
        ("#name", "error", "true"),
        ("#nothing", "error", "false"),
        ('#type == "s3" || 1', "true", "true"),
        ("#name.x", "error", "false"),
    ],
)
def test_where_query_and_policy_differ(source: str, in_query: str, in_policy: str) -> None:
    assert (value(source, QUERY), value(source, POLICY)) == (in_query, in_policy)


@pytest.mark.parametrize(
    "source",
    [
        "", " ", "1<2<3", "!!1", "$", "#", "$1", "@x", "'x'", "$a = 2", "-1", "1.5", '"open', "~open", "(1",
        "1)", "1 1", "&&", "1 &&", "1 | 1", "a.b", '"images/base".os', "$a.", "$a.2", "()", "1 == !1", "$a\x00",
        "(" * 65 + "1" + ")" * 65, "$a" + ".b" * 65, "1" * 5000, "1" * (iwhql.MAXIMUM_LENGTH + 1), "$a-b",
    ],
)  # fmt: skip
def test_unparsable(source: str) -> None:
    with pytest.raises(iwhql.ExpressionError):
        iwhql.parse(source)


def test_error_says_where() -> None:
    with pytest.raises(iwhql.ExpressionError, match="expected a value but found '<' at character 6"):
        iwhql.parse("1 && < 2")
    with pytest.raises(iwhql.ExpressionError, match="unexpected '@' at character 3"):
        iwhql.parse("$ @")


def test_long_chain_needs_no_stack() -> None:
    assert value("||".join(["0"] * 20_000)) == "false"
    assert value("0" * 50_000 + "7 == 7") == "true"


def test_texts_compare_bytewise() -> None:
    # U+10000 sorts after U+FFFF as UTF-8 and before it as UTF-16; an undecodable byte sorts as itself.
    context = Context({"raw": b"\xff".decode("utf-8", "surrogateescape")}.get)
    assert evaluate(iwhql.parse('"\U00010000" > "\uffff"'), context) is Truth.TRUE
    assert evaluate(iwhql.parse('$raw > "\U00010000"'), context) is Truth.TRUE


PIECES = st.one_of(
    st.sampled_from(["$", "#", ".", "a", "x", "1", "0", '"s"', "~d~", "(", ")"]),
    st.sampled_from(["!", "<", "<=", "==", "!=", ">=", ">", "&&", "||"]),
    st.sampled_from([" ", "=", "&", "@", "\n", "é", '"']),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(PIECES, max_size=30).map("".join) | st.text(max_size=60))
def test_any_text_parses_or_is_refused(source: str) -> None:
    try:
        expression = iwhql.parse(source)
    except iwhql.ExpressionError:
        return
    for context in (QUERY, POLICY):
        assert selects(expression, context) == (evaluate(expression, context) is Truth.TRUE)
    # Blanks between tokens mean nothing.
    assert evaluate(iwhql.parse(f" ({source}\n) "), QUERY) == evaluate(expression, QUERY)
