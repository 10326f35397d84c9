"""Ctrl-C in every verb: it leaves within a second, says how things are and what comes next; one is enough."""

from pathlib import Path

import pytest
from test_cli_interruption import hanging_engine, interrupt, start

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


@pytest.mark.parametrize("words", [*CHANGES, *LOOKS], ids=" ".join)
def test_while_the_engine_does_not_answer(tmp_path: Path, words: list[str]) -> None:
    with hanging_engine(tmp_path) as (address, server):
        process = start(tmp_path, address, "--stack", "x", *words)
        connection, _ = server.accept()
        with connection:
            connection.settimeout(20)
            assert connection.recv(16)
            status, out, err, seconds = interrupt(process)
    assert (status, out) == (130, "")
    assert seconds < 1
    *_progress, first, second = err.splitlines()
    assert "was interrupted; " in first
    assert first.endswith("[interrupted]")
    assert ("may be half done" in first) == (words in CHANGES)
    assert f": hailbox --stack x {' '.join(words)}" in second
