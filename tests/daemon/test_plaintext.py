"""What strangers sent reaches a terminal only as text."""

from __future__ import annotations

import logging
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haild.daemon.plaintext import PlainFormatter, printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain é 日本 ~", "plain é 日本 ~"),
        ("\x1b[2J", "\\x1b[2J"),
        ("a\x9b31mb", "a\\x9b31mb"),
        ("a\u202eb\u2066c", "a\\u202eb\\u2066c"),
        ("\udcff\U000e0001", "\\udcff\\U000e0001"),
        ("a\rb\x7f", "a\\x0db\\x7f"),
        ("line\n\ttab", "line\n\ttab"),
    ],
)
def test_examples(text: str, shown: str) -> None:
    assert printable(text) == shown


@given(st.text(st.characters()))
def test_nothing_that_a_terminal_obeys_is_left(text: str) -> None:
    shown = printable(text)
    assert not any(
        unicodedata.category(each) in ("Cc", "Cf", "Cs", "Zl", "Zp") for each in shown if each not in "\n\t"
    )
    assert printable(shown) == shown


def test_log_lines() -> None:
    record = logging.LogRecord("x", logging.WARNING, "", 0, "put of %s: %s", ("b/\x9bk", "\u202e"), None)
    assert PlainFormatter("%(message)s").format(record) == "put of b/\\x9bk: \\u202e"
