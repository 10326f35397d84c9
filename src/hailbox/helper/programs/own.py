"""The program of the helper that gives the volume at `/volume`, and all in it, to a user.

Takes the id of the user, which is also that of its group. It runs in a container and has the standard library only.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

VOLUME = "/volume"


def give(folder: str, user: int) -> None:
    """Change the owner of `folder` and all below it; links are not followed."""
    os.chown(folder, user, user)
    for place, folders, files in os.walk(folder):
        for name in (*folders, *files):
            os.chown(os.path.join(place, name), user, user, follow_symlinks=False)


def main(arguments: Sequence[str]) -> int:
    """Do it; the exit status."""
    give(VOLUME, int(arguments[0]))
    return 0
