"""The program of the helper that chooses which bytes to corrupt, in the volume at `/volume`.

Takes the file that the user named, or an empty text, and prints as JSON what `corruption.choose` finds, or
`{"missing": why}`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from hailbox.helper.programs.fault.corruption import choose

VOLUME = Path("/volume")


def main(arguments: Sequence[str]) -> int:
    """Print the choice; the exit status."""
    try:
        print(json.dumps(choose(VOLUME, arguments[0])))  # noqa: T201
    except OSError as error:
        print(json.dumps({"missing": str(error)}))  # noqa: T201
    return 0
