"""The load of `hailbox bench`, without a stack."""

import asyncio

import pytest

from hailbox.bench.load import Measurement, closed_loop
from hailbox.bench.measure import LARGEST
from hailbox.model import size
from hailbox.model.errors import UsageError


class Service:
    """Takes so many seconds for each step, on a clock of its own; one step at a time."""

    def __init__(self, *durations: float) -> None:
        self.now = 100.0
        self.durations = list(durations)
        self.workers: list[int] = []

    def clock(self) -> float:
        return self.now

    async def step(self, worker: int) -> None:
        self.workers.append(worker)
        self.now += self.durations.pop(0)
        await asyncio.sleep(0)


def run(service: Service, connections: int, seconds: float) -> Measurement:
    return asyncio.run(closed_loop(service.step, connections, seconds, service.clock))


def test_a_loop_ends_when_its_time_is_up() -> None:
    measured = run(Service(0.25, 0.5, 0.5, 9), 1, 1.0)
    assert (measured.count, measured.seconds) == (3, 1.25)
    assert (measured.median, measured.slowest_percent) == (0.5, 0.5)


def test_every_connection_has_at_least_one_operation() -> None:
    service = Service(5, 5, 5, 5)
    assert run(service, 3, 1.0).count == 3
    assert sorted(service.workers) == [0, 1, 2]


def test_the_slowest_percent_is_one_of_a_hundred() -> None:
    measured = run(Service(*[0.01] * 98, 2, 3), 1, 5.9)
    assert (measured.count, measured.slowest_percent) == (100, 2)
    assert run(Service(1, 3), 1, 3.5).slowest_percent == 3


def test_what_a_step_raises_ends_the_loop() -> None:
    async def step(worker: int) -> None:
        if worker == 2:
            raise ConnectionResetError("gone")
        await asyncio.sleep(0)

    with pytest.raises(ConnectionResetError, match="gone"):
        asyncio.run(closed_loop(step, 4, 60.0))


@pytest.mark.parametrize(
    ("written", "count"),
    [("1", 1), ("4096", 4096), ("4KiB", 4096), ("4k", 4096), ("16 MiB", 16 << 20), ("64M", 64 << 20)],
)
def test_sizes_as_people_write_them(written: str, count: int) -> None:
    assert size.parse(written, LARGEST) == count
    assert size.parse(size.exact(count).removesuffix(" bytes"), LARGEST) == count


@pytest.mark.parametrize("written", ["", "0", "-1", "65M", "1G", "4 KiBs", "1e3", "٤"])
def test_what_is_no_size_is_refused(written: str) -> None:
    with pytest.raises(UsageError, match="is not a size"):
        size.parse(written, LARGEST)
