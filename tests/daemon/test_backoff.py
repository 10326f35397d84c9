"""Pauses that grow, and attempts that end."""

import itertools

import pytest

from haild.backoff import JITTER, Backoff, pause_after, retry, retry_blocking


class Time:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now = 100.0
        self.pauses: list[float] = []

    def clock(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.block(seconds)

    def block(self, seconds: float) -> None:
        self.now += seconds
        self.pauses.append(seconds)


def _near(pauses: list[float], wanted: list[float]) -> None:
    assert len(pauses) == len(wanted)
    for pause, middle in zip(pauses, wanted, strict=True):
        assert (1 - JITTER) * middle <= pause <= (1 + JITTER) * middle


async def test_pauses_double_up_to_the_longest_and_the_first_error_is_told() -> None:
    time, told, attempts = Time(), [], itertools.count()

    async def call() -> str:
        number = next(attempts)
        if number < 6:
            raise OSError(f"attempt {number}")
        return "done"

    result = await retry(
        call, on=OSError, first=0.1, longest=1.0, told=told.append, clock=time.clock, sleep=time.sleep
    )
    assert result == "done"
    _near(time.pauses, [0.1, 0.2, 0.4, 0.8, 1.0, 1.0])
    assert [str(error) for error in told] == ["attempt 0"]


async def test_another_error_ends_it_at_once() -> None:
    async def call() -> None:
        raise ValueError("a defect")

    with pytest.raises(ValueError, match="a defect"):
        await retry(call, on=OSError, first=1.0, longest=1.0)


def test_the_last_error_is_raised_when_the_time_is_over() -> None:
    time, attempts = Time(), itertools.count()

    def call() -> None:
        raise OSError(f"attempt {next(attempts)}")

    with pytest.raises(OSError, match=r"attempt \d"):
        retry_blocking(call, on=OSError, first=0.05, longest=1.0, within=5.0, clock=time.clock, sleep=time.block)
    assert 105.0 <= time.now <= 105.0 + 1.0 * (1 + JITTER)
    assert max(time.pauses) <= 1.0 * (1 + JITTER)


def test_no_time_is_one_attempt() -> None:
    attempts = itertools.count()

    def call() -> None:
        next(attempts)
        raise OSError

    with pytest.raises(OSError):
        retry_blocking(call, on=OSError, first=0.05, longest=1.0, within=0.0)
    assert next(attempts) == 1


def test_a_loop_begins_with_the_shortest_pause_after_a_success() -> None:
    backoff = Backoff(0.5, 3.0)
    _near([backoff.next() for _ in range(5)], [0.5, 1.0, 2.0, 3.0, 3.0])
    backoff.reset()
    _near([backoff.next() for _ in range(2)], [0.5, 1.0])


def test_pauses_from_a_stored_number_of_failures() -> None:
    _near([pause_after(failures, 0.5, 60.0) for failures in (0, 1, 4, 12)], [0.5, 1.0, 8.0, 60.0])


def test_a_thousand_failures_later_it_is_still_the_longest_pause() -> None:
    backoff = Backoff(0.5, 60.0)
    for _ in range(5000):
        last = backoff.next()
    _near([last], [60.0])
