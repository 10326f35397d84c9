"""`logs --follow`: across restarts, new containers and the end of the stack or of the engine."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest

from hailbox.commands import follow as following
from hailbox.commands.down import down
from hailbox.commands.follow import follow
from hailbox.commands.reset import reset
from hailbox.commands.up import up
from hailbox.engine.fake import FakeEngine
from hailbox.engine.port import ContainerState
from hailbox.model import names
from hailbox.model.errors import EngineFailedError, EngineUnreachableError
from support.fakestack import MakeContext


class Streams:
    """What the containers say: a stream for each, by replica and its run; None in it is its end."""

    def __init__(self, fake: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
        self._fake = fake
        self._said: dict[str, queue.Queue[bytes | Exception | None]] = {}
        self.opened: queue.Queue[tuple[str, int | None]] = queue.Queue()
        self._lock = threading.Lock()
        monkeypatch.setattr(fake, "logs", self._logs)

    def of(self, container_id: str) -> queue.Queue[bytes | Exception | None]:
        with self._lock:
            return self._said.setdefault(container_id, queue.Queue())

    def _logs(self, container_id: str, *, since: int | None = None, **_options: object) -> Iterator[bytes]:
        self.opened.put((self._fake.all_containers[container_id].labels[names.REPLICA], since))
        while True:
            found = self.of(container_id).get()
            if found is None:
                return
            if isinstance(found, Exception):
                raise found
            yield found


@pytest.fixture
def streams(fake: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> Streams:
    monkeypatch.setattr(following, "LOOK", 0.01)
    monkeypatch.setattr(following, "GRACE", 0.3)
    return Streams(fake, monkeypatch)


def container_of(fake: FakeEngine, replica: str) -> str:
    return next(i for i, c in fake.all_containers.items() if c.labels.get(names.REPLICA) == replica)


def test_what_a_restarted_daemon_says_is_followed(
    fake: FakeEngine, make_context: MakeContext, streams: Streams
) -> None:
    up(make_context())
    chunkd = container_of(fake, "chunkd-1")
    said, lines = streams.of(chunkd), follow(make_context(), ["chunkd"])
    said.put(b"2026-01-01T00:00:01.100000000Z one")
    assert next(lines).text == "one"
    assert streams.opened.get(timeout=5) == ("chunkd-1", None)
    said.put(None)
    # The second of the last line is asked for again, and what was printed of it is not printed again.
    said.put(b"2026-01-01T00:00:01.100000000Z one")
    said.put(b"2026-01-01T00:00:01.200000000Z two")
    assert next(lines).text == "two"
    assert streams.opened.get(timeout=5) == ("chunkd-1", 1767225601)


def test_a_container_that_is_made_again_is_followed(
    fake: FakeEngine, make_context: MakeContext, streams: Streams
) -> None:
    up(make_context())
    before, lines = container_of(fake, "tabled-1"), follow(make_context())
    streams.of(before).put(b"2026-01-01T00:00:01Z before")
    assert next(lines).text == "before"
    reset(make_context())
    streams.of(before).put(EngineFailedError("no such container", ""))
    after = container_of(fake, "tabled-1")
    assert after != before
    streams.of(after).put(b"2026-01-01T00:00:09Z after")
    assert next(lines).text == "after"


def test_a_replica_that_is_added_is_followed_if_it_is_wanted(
    fake: FakeEngine, make_context: MakeContext, streams: Streams
) -> None:
    up(make_context())
    lines = follow(make_context(), ["chunkd"])
    first = container_of(fake, "chunkd-1")
    streams.of(first).put(b"2026-01-01T00:00:01Z first")
    assert next(lines).text == "first"
    labels = fake.all_containers[first].labels
    for name, service in (("chunkd-2", "chunkd"), ("cld-2", "cld")):
        fake.all_containers[name] = replace(
            fake.all_containers[first],
            id=name,
            name=name,
            labels={**labels, names.REPLICA: name, names.SERVICE: service},
        )
        streams.of(name).put(f"2026-01-01T00:00:02Z {name}".encode())
    assert next(lines).text == "chunkd-2"


def test_it_ends_with_the_stack(make_context: MakeContext, fake: FakeEngine, streams: Streams) -> None:
    up(make_context())
    container = container_of(fake, "cld-1")
    lines = follow(make_context(), ["cld"])
    streams.of(container).put(b"2026-01-01T00:00:01Z last")
    assert next(lines).text == "last"
    down(make_context())
    streams.of(container).put(None)
    assert list(lines) == []


@pytest.mark.parametrize("where", ["stream", "look"])
def test_an_engine_that_goes_is_told_in_one_error(
    fake: FakeEngine, make_context: MakeContext, streams: Streams, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    up(make_context())
    lines = follow(make_context(), ["cld"])
    gone = EngineUnreachableError("no engine answers at unix:///x: it was cut short", "start it")
    container = container_of(fake, "cld-1")
    assert fake.all_containers[container].state is ContainerState.RUNNING
    if where == "stream":
        streams.of(container).put(gone)
    else:
        streams.of(container).put(b"2026-01-01T00:00:01Z last")
        assert next(lines).text == "last"

        def containers(_labels: object) -> list[object]:
            raise gone

        monkeypatch.setattr(fake, "containers", containers)
    with pytest.raises(EngineFailedError, match="it was cut short") as caught:
        list(lines)
    assert "logs --follow" in caught.value.remedy
    assert caught.value.exit_status == 6
