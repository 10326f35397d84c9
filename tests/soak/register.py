"""Is a recorded history of one key one that a single, correct register could have had? (Wing and Gong, with memory.)

Pure: operations and their times in, a verdict out. A write that was not answered may have taken effect at any time
after it was sent, or never; that is `end=INF` and `required=False`.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from typing import Final

INF: Final = math.inf
ABSENT: Final = None
"""What a key holds that is not there."""

BUDGET: Final = 2_000_000
"""Steps of the search after which a history counts as too hard to judge."""


class NotLinearizableError(AssertionError):
    """No order of the operations explains the answers."""


@dataclass(frozen=True)
class Operation:
    """One request and its answer. Times are seconds of one monotonic clock."""

    begin: float
    end: float
    kind: str
    """`write` (PUT or DELETE), `create` (PUT only if the key is absent), `refused` (that PUT, refused), or `read`."""
    value: Hashable = ABSENT
    """What is written, or was read; ABSENT for a DELETE, and for a read that found nothing."""
    required: bool = True
    """Whether it certainly took effect."""

    def apply(self, state: Hashable) -> tuple[bool, Hashable]:
        """Whether this may happen while the key holds `state`, and what it holds afterwards."""
        if self.kind == "write":
            return True, self.value
        if self.kind == "create":
            return state is ABSENT, self.value
        if self.kind == "refused":
            return state is not ABSENT, state
        return state == self.value, state


def useful(operations: Iterable[Operation]) -> list[Operation]:
    """The operations that can matter: a write without an answer whose value was never read has no witness."""
    operations = list(operations)
    seen = {operation.value for operation in operations if operation.kind == "read"}
    refused = any(operation.kind == "refused" for operation in operations)
    return sorted(
        (o for o in operations if o.required or o.value in seen or (refused and o.value is not ABSENT)),
        key=lambda o: (o.begin, o.end),
    )


def check(operations: Iterable[Operation], initial: Hashable = ABSENT) -> int:
    """The number of operations judged. Raises NotLinearizableError; RuntimeError if the search grows too large.

    The search goes through the order of beginnings: the next operation to take effect is one that began before the
    first end among those that have not yet taken effect. A set of (what took effect, state) remembers dead ends.
    """
    history = useful(operations)
    total = len(history)
    required = sum(1 << i for i, operation in enumerate(history) if operation.required)
    seen: set[tuple[int, Hashable]] = set()
    stack: list[tuple[int, Hashable]] = [(0, initial)]
    furthest = 0
    while stack:
        done, state = stack.pop()
        if done & required == required:
            return total
        if (done, state) in seen:
            continue
        seen.add((done, state))
        if len(seen) > BUDGET:
            raise RuntimeError(f"a history of {total} operations is too hard to judge")
        furthest = max(furthest, done.bit_count())
        first_end = INF
        for i, operation in enumerate(history):
            if operation.begin > first_end:
                break
            if not done >> i & 1 and operation.required:
                first_end = min(first_end, operation.end)
        for i, operation in enumerate(history):
            if operation.begin > first_end:
                break
            if not done >> i & 1:
                possible, after = operation.apply(state)
                if possible:
                    stack.append((done | 1 << i, after))
    raise NotLinearizableError(
        f"{furthest} of {total} operations have an order: {history[max(0, furthest - 3) :][:8]}"
    )
