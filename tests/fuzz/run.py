"""Fuzz targets for a while and keep what widens their coverage: `python -m fuzz.run [--seconds N] [TARGET...]`.

Exit status 1 if a target failed; the input is printed as a line for its corpus.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fuzz import target

LONGEST = 4096
"""Bytes of an input: longer ones only slow the search down."""
SLOWEST = 20
"""Seconds one input may take."""
MEMORY = 1024
"""MiB a target may use."""
_EXECUTED = re.compile(r"stat::number_of_executed_units:\s*(\d+)")


@dataclass(frozen=True)
class Result:
    """How a run ended: how many inputs were tried, those that failed, and what was printed."""

    tried: int
    failed: list[bytes]
    well: bool
    text: str


def engine(name: str, options: Sequence[str | Path]) -> subprocess.CompletedProcess[str]:
    """Run libFuzzer on a target with these options."""
    command = [sys.executable, "-m", "fuzz.engine", name, *map(str, options)]
    paths = [str(target.FOLDER.parent), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    return subprocess.run(
        command,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )


def _dictionary_entry(token: bytes) -> str:
    """A token as a line of libFuzzer's dictionary."""
    return '"' + "".join(f"\\x{byte:02x}" for byte in token) + '"\n'


def _fill(directory: Path, inputs: Sequence[bytes]) -> Path:
    directory.mkdir()
    for number, data in enumerate(inputs):
        (directory / f"{number:05}").write_bytes(data)
    return directory


def _contents(directory: Path) -> list[bytes]:
    return [path.read_bytes() for path in sorted(directory.iterdir())]


def inputs(name: str) -> list[bytes]:
    """What a run starts from: seeds and corpus."""
    return [*target.load(name).seeds(), *target.read_corpus(name)]


def fuzz(name: str, *, runs: int, seconds: int, seed: int = 0, keep: bool = False) -> Result:
    """Fuzz a target for so many runs or seconds, whichever ends first; `keep`: write its corpus again.

    `seed` 0: another search each time.
    """
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        work = _fill(root / "work", inputs(name))
        failures = _fill(root / "failures", [])
        tokens = "".join(map(_dictionary_entry, getattr(target.load(name), "TOKENS", ())))
        # libFuzzer takes an empty dictionary for an error.
        (root / "tokens").write_text(tokens or "# none\n")
        common = [f"-max_len={LONGEST}", f"-timeout={SLOWEST}", f"-rss_limit_mb={MEMORY}"]
        options = [*common, f"-runs={runs}", f"-max_total_time={seconds}", f"-seed={seed}", "-print_final_stats=1"]
        ended = engine(name, [*options, f"-dict={root / 'tokens'}", f"-artifact_prefix={failures}/", work])
        counted = _EXECUTED.search(ended.stdout)
        if keep and ended.returncode == 0:
            least = _fill(root / "least", [])
            merged = engine(name, [*common, "-set_cover_merge=1", least, work])
            if merged.returncode == 0:
                target.write_corpus(name, _contents(least))
        return Result(int(counted[1]) if counted else 0, _contents(failures), ended.returncode == 0, ended.stdout)


def main() -> int:
    """Fuzz what the command line names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=60, help="for each target")
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=", ".join(target.names()))
    arguments = parser.parse_args()
    status = 0
    for name in arguments.targets or target.names():
        result = fuzz(name, runs=-1, seconds=arguments.seconds, keep=True)
        print(f"{name}: {result.tried} inputs, {len(target.read_corpus(name))} in the corpus", flush=True)
        if not result.well:
            status = 1
            print(result.text[-4000:], *map(target.to_line, result.failed), sep="\n", flush=True)
    return status


if __name__ == "__main__":
    sys.exit(main())
