"""Queries and policies keep within their budget of time and memory; only what an expression names is read."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from haild.iwhd.metadata import records
from haild.iwhd.metadata.evaluation import MEMORY, BudgetError, Meter, Values, matching
from haild.iwhd.metadata.schema import SCHEMA
from haild.iwhd.settings import ProviderSettings
from haild.iwhd.warehouse import policy
from haild.wire.iwhd.query import parse

LARGE = b"x" * (4 << 20)


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.executescript(SCHEMA)
    yield connection
    connection.close()


def found(connection: sqlite3.Connection, source: str, meter: Meter | None = None) -> list[str]:
    """All keys of bucket `b` that an expression selects, slice by slice."""
    meter = meter or Meter(10)
    position: int | None = 0
    keys: list[str] = []
    while position is not None:
        page = matching(connection, bucket="b", position=position, expression=parse(source), meter=meter)
        assert page.position is None or page.position > position
        keys += [each.key for each in page.listed]
        position = page.position
    return keys


def test_only_named_attributes_are_read(connection: sqlite3.Connection) -> None:
    for number in range(40):
        records.set_attributes(
            connection, "b", f"k{number}", [("notes", LARGE[: 1 << 16]), ("even", b"%d" % (number % 2))]
        )
    read: list[str] = []
    connection.set_trace_callback(read.append)
    assert found(connection, "$even == 0") == [f"k{number}" for number in range(0, 40, 2)]
    assert not any("notes" in statement for statement in read)
    assert not any(
        "name =" not in statement and "FROM attribute" in statement
        for statement in read
        if "WHERE id =" not in statement
    )


def test_each_value_is_read_once(connection: sqlite3.Connection) -> None:
    records.set_attributes(connection, "b", "k", [("a", LARGE)])
    read: list[str] = []
    connection.set_trace_callback(read.append)
    assert found(connection, "||".join(['$a=="x"'] * 6500)) == []
    assert sum("SELECT value" in statement for statement in read) == 1


def test_too_much_memory(connection: sqlite3.Connection) -> None:
    count = MEMORY // len(LARGE) + 1
    records.set_attributes(connection, "b", "k", [(f"a{number}", LARGE) for number in range(count)])
    records.set_attributes(connection, "b", "l", [("link", b"b/k")])
    assert found(connection, "||".join(f'$a{number}=="x"' for number in range(count - 1))) == []
    for prefix in ("$", "$link."):
        with pytest.raises(BudgetError, match="MiB"):
            found(connection, "||".join(f'{prefix}a{number}=="x"' for number in range(count)))


def test_too_much_time(connection: sqlite3.Connection) -> None:
    for number in range(1000):
        records.set_attributes(connection, "b", f"k{number}", [("a", b"1")])
    now = 0.0

    def clock() -> float:
        nonlocal now
        now += 0.001
        return now

    with pytest.raises(BudgetError, match=r"more than 0\.5 s"):
        found(connection, "$a == 2", Meter(0.5, clock))


def test_pauses_do_not_count(connection: sqlite3.Connection) -> None:
    records.set_attributes(connection, "b", "k", [("a", b"1")])
    now = 0.0
    meter = Meter(1, lambda: now)
    for _ in range(5):
        now += 100
        page = matching(connection, bucket="b", position=0, expression=parse("$a"), meter=meter)
        assert [each.key for each in page.listed] == ["k"]


def test_odd_links_are_missing(connection: sqlite3.Connection) -> None:
    records.set_attributes(connection, "b", "k", [("odd", b"\xff/\xfe"), ("long", b"/" * 200), ("self", b"b/k")])
    assert found(connection, '$odd.x == "" && $long.x == "" && $self.self.self == "b/k"') == ["k"]


def test_a_costly_policy_copies_nothing(connection: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    count = MEMORY // len(LARGE) + 1
    records.set_attributes(connection, "b", "k", [(f"a{number}", LARGE) for number in range(count)])
    target = ProviderSettings("t", "fs", path="/t")
    assert policy.chosen(connection, "b", "k", [target], "1") == ["t"]
    costly = "||".join(f'$a{number}=="x"' for number in range(count)) + "||1"
    assert policy.chosen(connection, "b", "k", [target], costly) == []
    monkeypatch.setattr(policy, "POLICY_SECONDS", 0.0)
    assert policy.chosen(connection, "b", "k", [target], "$a0 || 1") == []


@settings(max_examples=60, deadline=None)
@given(
    values=st.dictionaries(st.sampled_from("abc"), st.binary(max_size=3), max_size=3),
    text=st.text("xyz", min_size=1, max_size=2),
)
def test_stored_values_compare_as_they_are(values: dict[str, bytes], text: str) -> None:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.executescript(SCHEMA)
    records.set_attributes(connection, "b", "k", values.items())
    for name in "abc":
        assert Values(connection, Meter(10)).linked("b", "k", name) == values.get(name)
        assert bool(found(connection, f'${name} == "{text}"')) == (values.get(name, b"") == text.encode())
    connection.close()
