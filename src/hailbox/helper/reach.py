"""What a container reaches over its network: whether packets, or the names of its peers, are lost on the way."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

from hailbox.context import Context
from hailbox.engine.port import Container
from hailbox.helper import kinds
from hailbox.helper.run import Work, image_of, run
from hailbox.model.errors import DiskFullError, HailboxError
from hailbox.observe import Observed


class Way(StrEnum):
    """What became of a connection."""

    OPEN = "open"
    REFUSED = "refused"
    UNKNOWN = "unknown"
    """No name server knows the host."""
    SILENT = "silent"
    """No packet came back."""


def look(context: Context, observed: Observed, container: Container, targets: Sequence[str]) -> dict[str, Way]:
    """What a running container reaches of these servers, each `HOST:PORT`; nothing where no helper can look."""
    image = image_of(observed)
    if image is None or not targets:
        return {}
    work = Work(kinds.REACH, image, arguments=tuple(targets), network=f"container:{container.id}")
    try:
        said = run(context, work).decode().split()
    except DiskFullError:
        raise
    except HailboxError:
        return {}
    if len(said) != len(targets):
        return {}
    return {target: Way(word) for target, word in zip(targets, said, strict=True) if word in list(Way)}
