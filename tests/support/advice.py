"""Reading the commands that an error advises, so that a test can run them as a user would."""

from __future__ import annotations

import re
import shlex

_COMMAND = re.compile(r"(?:^|: |run )((?:hailbox|docker) .+)$")


def commands(remedy: str) -> list[list[str]]:
    """The commands that a remedy advises, in their order, as words; of alternatives the first one.

    A clause that begins with `or` is an alternative, and what stands in brackets explains.
    """
    found = []
    for clause in re.sub(r" \([^)]*\)", "", remedy).split(";"):
        text = clause.strip()
        if not text.startswith("or ") and (match := _COMMAND.search(text.partition(", or ")[0])):
            found.append(shlex.split(match[1].partition(", ")[0]))
    return found
