"""Colours only where they are wanted."""

import re

import pytest

from hailbox.cli.colour import Palette, wanted


@pytest.mark.parametrize(
    ("terminal", "environment", "expected"),
    [
        (True, {"TERM": "xterm"}, True),
        (True, {"TERM": "dumb"}, False),
        (True, {}, False),
        (True, {"TERM": "xterm", "NO_COLOR": "1"}, False),
        (True, {"TERM": "xterm", "NO_COLOR": ""}, True),
        (False, {"TERM": "xterm"}, False),
        (False, {"FORCE_COLOR": "1"}, True),
        (True, {"TERM": "xterm", "FORCE_COLOR": "0"}, False),
        (True, {"TERM": "xterm", "FORCE_COLOR": "1", "NO_COLOR": "1"}, False),
    ],
)
def test_variables_and_terminal_decide(terminal: bool, environment: dict[str, str], expected: bool) -> None:
    assert wanted(terminal=terminal, environment=environment) is expected


def test_replicas_have_colours_of_their_own_that_stay() -> None:
    palette = Palette(used=True)
    names = ["chunkd-1", "chunkd-2", "chunkd-3"]
    painted = [palette.paint(name, "x") for name in names]
    assert len(set(painted)) == len(names)
    assert painted == [Palette(used=True).paint(name, "x") for name in names]
    assert {re.sub(r"\x1b\[[0-9]+m", "", text) for text in painted} == {"x"}


def test_without_colours_a_text_is_as_it_was() -> None:
    assert Palette(used=False).paint("cld-1", "text") == "text"
