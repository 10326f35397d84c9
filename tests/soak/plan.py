"""What happens in a soak, drawn from a seed: which profile, which disturbance, on which replica, for how long.

Pure, so that a seed gives the same list again. (What the machine makes of it, differs: times are real.)
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

PROFILES: Final = ("s3", "private-cloud", "standby", "failover", "fs")
COMMANDS: Final = (("up",), ("down",), ("status",), ("snapshot", "save", "soak"), ("snapshot", "rm", "soak"))
"""Commands that are killed with SIGKILL in their midst; none of them may discard what clients stored."""

KINDS: Final = {
    "crash": 6,
    "kill driver": 6,
    "fault kill": 2,
    "fault pause": 2,
    "fault stop": 1,
    "fault isolate": 1,
    "fault partition": 1,
    "fault slow": 1,
    "fault fill-disk": 1,
    "fault corrupt": 1,
    "remove container": 2,
    "remove network": 1,
    "down": 1,
    "restart engine": 0,
}
"""By kind, how often it is drawn among the others. The engine is killed only where it is one of the soak's own."""

ENGINE_WEIGHT: Final = 1


@dataclass(frozen=True)
class Disturbance:
    """One thing that goes wrong."""

    kind: str
    replica: str = ""
    other: str = ""
    command: tuple[str, ...] = ()
    seconds: float = 0.0
    """For how long clients go on before `hailbox up` is called; or after how long the command is killed."""

    def __str__(self) -> str:
        words = [self.kind, self.replica, self.other, " ".join(self.command), f"{self.seconds:.2f} s"]
        return " ".join(filter(None, words))


def disturbances(rng: random.Random, replicas: Sequence[str], *, own_engine: bool = False) -> Iterator[Disturbance]:
    """Without end: what goes wrong next in a stack of these replicas."""
    weights = KINDS | ({"restart engine": ENGINE_WEIGHT} if own_engine else {})
    data = [replica for replica in replicas if replica.startswith("chunkd")]
    while True:
        kind = rng.choices(list(weights), list(weights.values()))[0]
        replica = rng.choice(list(replicas))
        seconds = rng.choice((0.1, 0.5, 1.5, 3.0))
        if kind == "kill driver":
            yield Disturbance(kind, command=rng.choice(COMMANDS), seconds=rng.uniform(0.05, 2.0))
        elif kind in ("down", "remove network", "restart engine"):
            yield Disturbance(kind, seconds=seconds)
        elif kind == "fault partition" and len(replicas) > 1:
            one, two = rng.sample(list(replicas), 2)
            yield Disturbance(kind, one, two, seconds=seconds)
        elif kind == "fault corrupt":
            if data:
                yield Disturbance(kind, rng.choice(data), seconds=seconds)
        elif kind != "fault partition":
            yield Disturbance(kind, replica, seconds=seconds)
