"""Every target of tests/fuzz: what is kept in its corpus, then a bounded search for more; see README.md."""

import importlib.util
import platform
from pathlib import Path

import pytest

from fuzz import run, target

RUNS = 20_000
SECONDS = 2
WITH_ATHERIS = pytest.mark.skipif(
    importlib.util.find_spec("atheris") is None,
    reason="atheris has wheels for Linux on x86-64 only; test_corpus replays what it found there. "
    f"This is {platform.system()} on {platform.machine()}",
)


@pytest.mark.parametrize("name", target.names())
def test_corpus(name: str) -> None:
    corpus = target.read_corpus(name)
    assert corpus, "make fuzz writes it"
    module = target.load(name)
    for data in [*module.seeds(), *corpus]:
        try:
            module.fuzz(data)
        except Exception as error:
            error.add_note(f"fails with {target.to_line(data)[:8192]}")
            raise


@pytest.mark.slow
@WITH_ATHERIS
@pytest.mark.parametrize("name", target.names())
def test_bounded_run(name: str) -> None:
    result = run.fuzz(name, runs=RUNS, seconds=SECONDS)
    failed = "\n".join(map(target.to_line, result.failed))
    assert result.well, f"{result.text[-4000:]}\nadd to the corpus:\n{failed}"
    print(f"{name}: {result.tried} inputs")
    assert result.tried > len(run.inputs(name)), "nothing beyond the corpus was tried"


PLANTED = """
from haild.wire.cld import xdr

def seeds():
    yield bytes(8)

def fuzz(data):
    if xdr.Decoder(data.ljust(4)).word() > 1000:
        raise ValueError("planted")
"""


@WITH_ATHERIS
def test_a_failure_is_found_and_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The search has teeth, and gives back the input that fails."""
    (tmp_path / "planted").mkdir()
    (tmp_path / "planted" / "target.py").write_text(PLANTED)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.syspath_prepend(str(tmp_path))
    result = run.fuzz("planted.target", runs=RUNS, seconds=30)
    assert not result.well
    assert "planted" in result.text
    (data,) = result.failed
    with pytest.raises(ValueError, match="planted"):
        target.load("planted.target").fuzz(data)


def test_a_corpus_is_kept_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "corpus").mkdir()
    monkeypatch.setattr(target, "FOLDER", tmp_path)
    target.write_corpus("any", [b"longer", b"", b"a", b"a"])
    assert target.read_corpus("any") == [b"", b"a", b"longer"]
    assert target.read_corpus("another") == []
