"""Which ports a stack gets. What is held is held by real sockets on the loopback address."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from hailbox.context import Context
from hailbox.engine.fake import FakeEngine
from hailbox.engine.port import Container, ContainerState, Image, PublishedPort
from hailbox.model import names
from hailbox.model.catalog import ONE_SHOT
from hailbox.model.errors import PortTakenError, UnknownServiceError, UsageError
from hailbox.observe import observe
from hailbox.stack import portholder, ports
from hailbox.stack.ports import LOOPBACK, Assignment, Substitution, assign, is_free
from support.fakestack import MakeContext

ME = f"the program {Path('/proc/self/comm').read_text().strip()} (pid {os.getpid()})"
CLD, CHUNK, S3, IWHD = ("cld-1", "cld"), ("chunkd-1", "chunk"), ("tabled-1", "s3"), ("iwhd-1", "iwhd")


def listener(number: int = 0, kind: socket.SocketKind = socket.SOCK_STREAM) -> socket.socket:
    found = socket.socket(socket.AF_INET, kind)
    if kind == socket.SOCK_STREAM:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do
    found.bind((LOOPBACK, number))
    if kind == socket.SOCK_STREAM:
        found.listen()
    return found


@pytest.fixture
def free() -> list[int]:
    """Some ports that are free at the moment, each with the next two free as well."""
    found: list[int] = []
    for number in range(30000 + os.getpid() % 500 * 4, 32700, 4):
        if all(is_free(near, ("tcp", "udp")) for near in range(number, number + 3)):
            found.append(number)
        if len(found) == 6:
            return found
    raise AssertionError("this host has no free ports")


@pytest.fixture
def make(make_context: MakeContext, free: list[int]) -> MakeContext:
    """Contexts of the default stack, which prefers free ports here, as the usual ones may be in use."""

    def context(stack: str = names.DEFAULT_STACK, **choices: object) -> Context:
        made = make_context(stack=stack, **choices)
        services = dict(made.catalog.services)
        for service, host in zip(("cld", "chunkd", "tabled", "iwhd"), free, strict=False):
            moved = tuple(replace(port, host=host) for port in services[service].ports)
            services[service] = replace(services[service], ports=moved)
        return replace(made, catalog=replace(made.catalog, services=services))

    return context


def chosen(context: Context, scale: Mapping[str, int] | None = None) -> Assignment:
    profile = context.catalog.profile("s3").scaled(scale or {})
    return assign(context, profile, observe(context.engine, context.stack))


def put(fake: FakeEngine, name: str, stack: str | None, labels: Mapping[str, str], port: int = 0) -> None:
    published = (PublishedPort(1, "tcp", LOOPBACK, port),) if port else ()
    own = {names.STACK: stack} if stack else {}
    fake.all_images["some/image"] = Image("sha256:1", ("some/image",))
    fake.all_containers[name] = Container(
        name, name, "some/image", "sha256:1", ContainerState.RUNNING, {**own, **labels}, published
    )


def record(fake: FakeEngine, context: Context, of: Mapping[tuple[str, str], int]) -> None:
    labels = {f"{names.PORT}{replica}.{port}": str(number) for (replica, port), number in of.items()}
    put(fake, "one-shot", context.stack, {names.REPLICA: ONE_SHOT, **labels})


def test_default_stack_gets_what_it_prefers(make: MakeContext, free: list[int]) -> None:
    found = chosen(make(), {"chunkd": 3})
    assert found.substitutions == ()
    assert found.ports == {
        CLD: free[0],
        CHUNK: free[1],
        ("chunkd-2", "chunk"): free[1] + 1,
        ("chunkd-3", "chunk"): free[1] + 2,
        S3: free[2],
        IWHD: free[3],
    }


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM], ids=["tcp", "udp"])
def test_a_preferred_port_that_is_held_is_replaced_and_its_holder_named(
    make: MakeContext, free: list[int], kind: socket.SocketKind
) -> None:
    with listener(free[0], kind):
        found = chosen(make())
    given = found.ports[CLD]
    assert found.substitutions == (Substitution("cld-1", "cld", free[0], given, ME),)
    assert given != free[0]
    assert {key: found.ports[key] for key in (CHUNK, S3, IWHD)} == {CHUNK: free[1], S3: free[2], IWHD: free[3]}


def test_a_udp_socket_does_not_hold_a_port_that_is_tcp_only(make: MakeContext, free: list[int]) -> None:
    with listener(free[2], socket.SOCK_DGRAM):
        assert chosen(make()).ports[S3] == free[2]


def test_other_stacks_get_free_ports_and_find_the_same_ones_again(make: MakeContext, free: list[int]) -> None:
    one, two = chosen(make("one")), chosen(make("two"))
    assert not set(one.ports.values()) & set(two.ports.values())
    assert not set(one.ports.values()) & set(free)
    assert all(20000 <= number <= 29999 for number in one.ports.values())
    assert one.substitutions == ()
    assert chosen(make("one")) == one


def test_what_is_held_is_stepped_over(make: MakeContext) -> None:
    first = chosen(make("one")).ports[S3]
    with listener(first):
        second = chosen(make("one")).ports[S3]
    assert second > first or second == 20000


def test_recorded_ports_stay(fake: FakeEngine, make: MakeContext, free: list[int]) -> None:
    context = make()
    record(fake, context, {S3: free[4], ("chunkd-9", "chunk"): 1})
    assert observe(fake, context.stack).ports == {S3: free[4], ("chunkd-9", "chunk"): 1}
    found = chosen(context)
    assert found.ports[S3] == free[4]
    assert [(given.replica, given.wanted, given.given) for given in found.substitutions] == [
        ("tabled-1", free[2], free[4])
    ]


def test_a_recorded_port_that_somebody_took_meanwhile_is_replaced(
    fake: FakeEngine, make: MakeContext, free: list[int]
) -> None:
    context = make("one")
    record(fake, context, {S3: free[4]})
    with listener(free[4]):
        assert chosen(context).ports[S3] not in free


def test_what_the_stack_itself_holds_it_keeps(fake: FakeEngine, make: MakeContext, free: list[int]) -> None:
    context = make()
    record(fake, context, {S3: free[4]})
    put(fake, "hailbox-hail-tabled-1", context.stack, {names.REPLICA: "tabled-1"}, free[4])
    with listener(free[4]):  # as the engine does for a container that runs
        assert chosen(context).ports[S3] == free[4]


def test_insisted_ports_win_over_recorded_ones(fake: FakeEngine, make: MakeContext, free: list[int]) -> None:
    context = make(ports={"tabled": free[5], "chunkd-2": free[4]})
    record(fake, context, {S3: free[3]})
    found = chosen(context, {"chunkd": 2})
    assert found.ports[S3] == free[5]
    assert found.ports["chunkd-2", "chunk"] == free[4]


def test_insisting_on_what_another_service_prefers(make: MakeContext, free: list[int]) -> None:
    """cld, which comes first, has to give way, and the message does not invent a program that it cannot see."""
    found = chosen(make(ports={"iwhd": free[0]}))
    assert found.ports[IWHD] == free[0]
    assert found.ports[CLD] != free[0]


def test_a_recorded_port_is_not_given_to_another_replica(
    fake: FakeEngine, make: MakeContext, free: list[int]
) -> None:
    context = make()
    record(fake, context, {IWHD: free[0]})
    found = chosen(context)
    assert found.ports[IWHD] == free[0]
    assert found.ports[CLD] != free[0]


def test_insisting_on_a_port_that_is_held(make: MakeContext) -> None:
    with listener() as holder:
        number = holder.getsockname()[1]
        with pytest.raises(PortTakenError) as caught:
            chosen(make(ports={"tabled-1": number}))
    assert caught.value.problem == f"port {number}, which you chose for tabled-1, is held by {ME}"


def test_insisting_on_a_port_of_a_container(fake: FakeEngine, make: MakeContext) -> None:
    with listener() as holder:
        number = holder.getsockname()[1]
        put(fake, "somebody-elses", None, {}, number)
        with pytest.raises(PortTakenError) as caught:
            chosen(make(ports={"tabled": number}))
    assert caught.value.problem.endswith("is held by the container somebody-elses (image some/image)")


def test_insisting_on_one_port_twice(make: MakeContext, free: list[int]) -> None:
    with pytest.raises(UsageError) as caught:
        chosen(make(ports={"tabled": free[5], "iwhd-1": free[5]}))
    assert caught.value.problem == f"port {free[5]} is chosen twice"


def test_insisting_for_what_is_not_there(make: MakeContext) -> None:
    with pytest.raises(UnknownServiceError) as caught:
        chosen(make(ports={"mongod": 1}))
    assert "'mongod'" in caught.value.problem
    assert caught.value.remedy == "it has: cld-1, chunkd-1, tabled-1, iwhd-1"


def test_no_port_is_free(make: MakeContext, monkeypatch: pytest.MonkeyPatch, free: list[int]) -> None:
    with listener() as holder:
        monkeypatch.setattr(ports, "_FIRST", holder.getsockname()[1])
        monkeypatch.setattr(ports, "_LAST", holder.getsockname()[1])
        with pytest.raises(PortTakenError) as caught:
            chosen(make("one"))
    assert "is free for cld-1" in caught.value.problem


def test_a_connection_that_ended_does_not_hold_its_port() -> None:
    with listener() as server:
        number = server.getsockname()[1]
        with socket.create_connection((LOOPBACK, number)), server.accept()[0] as accepted:
            accepted.shutdown(socket.SHUT_RDWR)  # the server closes first, and waits in TIME_WAIT
    assert is_free(number, ("tcp",))


def test_a_port_that_this_user_may_not_open_is_left_to_the_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_self: socket.socket, _address: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(socket.socket, "bind", refuse)
    assert is_free(80, ("tcp", "udp"))


def test_a_holder_that_cannot_be_seen(fake: FakeEngine, free: list[int]) -> None:
    assert portholder.describe(fake, free[0], ("tcp",)) == "a program that this user cannot see"
