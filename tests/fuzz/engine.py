"""Fuzz one target in this process, which it ends: `python -m fuzz.engine TARGET OPTION-OF-LIBFUZZER...`.

Started by `fuzz.run` and the tests, with `tests` on PYTHONPATH.
"""

from __future__ import annotations

import logging
import shlex
import sys

import atheris

from fuzz import target


def main() -> None:
    """Run libFuzzer; exit status 0 if nothing was found."""
    logging.disable()  # a million inputs would log too much to read
    with atheris.instrument_imports(include=["haild"]):
        module = target.load(sys.argv[1])
    # libFuzzer's merge starts this program again, by a shell.
    again = shlex.join([sys.executable, "-m", "fuzz.engine", sys.argv[1]])
    atheris.Setup([again, *sys.argv[2:]], module.fuzz)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
