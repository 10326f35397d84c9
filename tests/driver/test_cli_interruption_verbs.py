"""Ctrl-C in every verb: it leaves within a second, says how things are and what comes next; one is enough."""

from pathlib import Path

import pytest

from support.interrupting import interrupted

pytestmark = pytest.mark.slow

CHANGES = [
    ["up"],
    ["down"],
    ["reset"],
    ["reset", "chunkd"],
    ["reset", "--to", "seed"],
    ["destroy"],
    ["snapshot", "save", "seed"],
    ["snapshot", "restore", "seed"],
    ["snapshot", "rm", "seed"],
    ["fault", "kill", "cld-1"],
    ["fault", "clear"],
]
LOOKS = [
    ["status"],
    ["status", "--why"],
    ["wait"],
    ["doctor"],
    ["logs"],
    ["logs", "-f"],
    ["env"],
    ["compose"],
    ["build"],
    ["shell", "cld"],
    ["shell", "chunkd"],
    ["shell", "tabled-1"],
    ["exec", "tabled-1", "ps"],
    ["snapshot", "ls"],
    ["fault", "ls"],
]
ABOUT_NO_STACK = [["ls"]]


@pytest.mark.parametrize("words", [*CHANGES, *LOOKS, *ABOUT_NO_STACK], ids=" ".join)
def test_while_the_engine_does_not_answer(tmp_path: Path, words: list[str]) -> None:
    status, out, err = interrupted(tmp_path, "--stack", "x", *words)
    assert (status, out) == (130, "")
    *_progress, first, second = err.splitlines()
    assert "was interrupted; " in first
    assert first.endswith("[interrupted]")
    assert ("may be half done" in first) == (words in CHANGES)
    assert f": hailbox --stack x {' '.join(words)}" in second
    assert ("no stack was changed" in first) == (words not in CHANGES)
