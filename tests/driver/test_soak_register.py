"""The checker of `make soak`: what a correct register did passes, what none could have done does not."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from soak.register import ABSENT, INF, NotLinearizableError, Operation, check


def write(begin: float, end: float, value: object, **more: bool) -> Operation:
    return Operation(begin, end, "write", value, **more)  # type: ignore[arg-type]


def read(begin: float, end: float, value: object) -> Operation:
    return Operation(begin, end, "read", value)  # type: ignore[arg-type]


LATE = write(0, INF, "a", required=False)


@pytest.mark.parametrize(
    ("why", "history"),
    [
        ("a lost write", [write(0, 1, "a"), read(2, 3, ABSENT)]),
        ("a stale read", [write(0, 1, "a"), write(2, 3, "b"), read(4, 5, "a")]),
        ("a value that nothing wrote", [write(0, 1, "a"), read(2, 3, "x")]),
        ("back and forth", [write(0, 8, "a"), write(0, 8, "b"), *(read(9 + i, 9 + i, "aba"[i]) for i in range(3))]),
        ("what was deleted comes back", [write(0, 1, "a"), write(2, 3, ABSENT), read(4, 5, "a")]),
        ("two created it", [Operation(0, 1, "create", "a"), Operation(2, 3, "create", "b")]),
        ("refused, and never there", [Operation(0, 1, "refused")]),
        ("a late write, undone", [LATE, write(5, 6, "b"), read(7, 8, "b"), read(9, 9, "a"), read(11, 12, "b")]),
    ],
)  # fmt: skip
def test_what_no_register_does_is_found(why: str, history: list[Operation]) -> None:
    with pytest.raises(NotLinearizableError):
        check(history)


@pytest.mark.parametrize(
    "history",
    [
        [write(0, 10, "a"), read(1, 2, ABSENT), read(3, 4, "a")],
        [write(0, INF, "a", required=False), read(5, 6, ABSENT), read(7, 8, "a")],
        [write(0, INF, "a", required=False), read(5, 6, ABSENT)],
        [write(0, INF, "a", required=False), Operation(5, 6, "refused")],
        [write(0, 9, "a"), write(0, 9, "b"), read(3, 4, "a"), read(5, 6, "b")],
    ],
)
def test_what_a_register_may_do_passes(history: list[Operation]) -> None:
    assert check(history) == len(history) or not all(operation.required for operation in history)


@given(st.integers(0, 2**32), st.integers(1, 60))
def test_histories_of_a_real_register_pass(seed: int, count: int) -> None:
    """Operations take effect one after another at a moment between their beginning and their end."""
    rng = random.Random(seed)
    state: object = ABSENT
    history = []
    for number in range(count):
        moment = float(number)
        begin, end = moment - rng.uniform(0, 3), moment + rng.uniform(0, 3)
        kind = rng.choice(["write", "delete", "read", "create", "lost"])
        if kind == "read":
            history.append(read(begin, end, state))
        elif kind == "create" and state is not ABSENT:
            history.append(Operation(begin, end, "refused"))
        elif kind == "create":
            state = number
            history.append(Operation(begin, end, "create", number))
        elif kind == "lost":
            happened = rng.random() < 0.5
            state = number if happened else state
            history.append(write(begin, INF, number, required=False))
        else:
            state = number if kind == "write" else ABSENT
            history.append(write(begin, end, state))
    check(history)
