"""The program of the helper that removes what a restored snapshot has replaced: `/volumes/*/.discarded-*`.

It runs in a container and has the standard library only.
"""

from __future__ import annotations

import glob
import shutil
from collections.abc import Sequence

ASIDE = "/volumes/*/.discarded-*"


def main(_arguments: Sequence[str]) -> int:
    """Remove; raises OSError where that fails, which ends the program with status 1."""
    for folder in glob.glob(ASIDE):
        shutil.rmtree(folder)
    return 0
