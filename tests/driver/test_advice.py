"""Every error's advice, followed: the fault is brought about, what the error advises is done, and it must help.

Here on the engine in memory and on hosts without an engine; `tests/faults/test_fault_table.py` follows the advice on
a real engine.
"""

from __future__ import annotations

import itertools
import resource
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from hailbox.commands import up as up_verb
from hailbox.engine import composecli
from hailbox.engine.fake import FakeEngine
from hailbox.engine.port import ComposeVersion, Container, ContainerState, EngineVersion, Helper, Image, Network
from hailbox.fault import inject
from hailbox.model import errors, names, refusals
from hailbox.model.errors import DockerClientMissingError, EngineFailedError, HailboxError, ImageError
from hailbox.probe import port
from hailbox.probe.outcome import Outcome, Reached
from hailbox.stack import lock
from support import advice
from support.advised import STACK, World
from support.cli_program import command, environment, run
from support.engine_server import EMPTY, engine, serve
from support.fakestack import container_of
from support.interrupting import interrupted

Case = Callable[[World], None]
CASES: dict[str, Case] = {}
WHY = ("status", "--why")


def case(code: str) -> Callable[[Case], Case]:
    """Enter a case into the table under the code that it meets."""

    def enter(function: Case) -> Case:
        assert code not in CASES
        CASES[code] = function
        return function

    return enter


def hail(world: World, text: str) -> None:
    (world.folder / "hailbox.yaml").write_text(text)


# bad usage


@case("bad-usage")
def bad_usage(world: World) -> None:
    ended = run(world.folder, "nonsense")
    code, _, remedy = ended.error()
    assert code == "bad-usage"
    ((_, *words),) = advice.commands(remedy)
    assert run(world.folder, *words).status == 0


@case("unknown-service")
def unknown_service(world: World) -> None:
    world.up()
    world.meets("unknown-service", "logs", "ironing", hand=bool, says="chunkd-1", then=("logs", "chunkd-1"))


@case("unknown-profile")
def unknown_profile(world: World) -> None:
    choose = ("up", "--profile", "failover")
    world.meets("unknown-profile", "up", "--profile", "x", hand=bool, says="failover", then=choose)


@case("bad-configuration")
def bad_configuration(world: World) -> None:
    hail(world, "profil: fs\n")
    world.meets("bad-configuration", "up", hand=lambda: hail(world, "profile: fs\n"), says="profile")


@case("unknown-fault")
def unknown_fault(world: World) -> None:
    world.up()
    assert world.run("fault", "pause", "chunkd-1").status == 0
    clear = ("fault", "clear")
    world.meets("unknown-fault", *clear, "x", hand=bool, says="pause-chunkd-1", then=(*clear, "pause-chunkd-1"))


@case("fault-active")
def fault_active(world: World) -> None:
    world.up()
    assert world.run("fault", "pause", "chunkd-1").status == 0
    world.meets("fault-active", "fault", "pause", "chunkd-1")


@case("unknown-snapshot")
def unknown_snapshot(world: World) -> None:
    world.up()
    world.work["-save-"] = b"4096\n"
    world.work["-digest-"] = b"{}"
    world.meets("unknown-snapshot", "snapshot", "rm", "one")


@case("snapshot-exists")
def snapshot_exists(world: World) -> None:
    world.up()
    world.work["-save-"] = b"4096\n"
    world.work["-digest-"] = b"{}"
    assert world.run("snapshot", "save", "one").status == 0
    other = ("snapshot", "save", "two")
    world.meets("snapshot-exists", "snapshot", "save", "one", hand=bool, says="another name", then=other)


@case("snapshot-file")
def snapshot_file(world: World) -> None:
    world.up()
    world.work["-save-"] = b"4096\n"
    world.work["-digest-"] = b"{}"
    world.work["-digest-"] = b'{".credentials": "aa"}'
    assert world.run("snapshot", "save", "one").status == 0
    wrong, right = str(world.folder / "none" / "file"), str(world.folder / "file")
    export = ("snapshot", "export", "one")
    world.meets("snapshot-file", *export, wrong, hand=bool, says="another name or folder", then=(*export, right))


# the host


def of_program(world: World, code: str, wrong: dict[str, str], right: dict[str, str], says: str) -> None:
    """`hailbox ls` with one environment, and with the one that its advice asks for."""
    found, _, remedy = run(world.folder, "ls", variables=wrong).error()
    assert (found, says in remedy) == (code, True), remedy
    assert run(world.folder, "ls", variables=right).status == 0


@case("engine-unreachable")
def engine_unreachable(world: World) -> None:
    nowhere = {"DOCKER_HOST": f"unix://{world.folder}/nothing.sock"}
    with serve(world.folder, engine(EMPTY)) as address:
        of_program(world, "engine-unreachable", nowhere, {"DOCKER_HOST": address}, "set DOCKER_HOST")


@case("engine-denied")
def engine_denied(world: World) -> None:
    refusing = world.folder / "refusing"
    refusing.mkdir()
    with (
        serve(refusing, lambda *_: (403, {"message": "no access"})) as denied,
        serve(world.folder, engine(EMPTY)) as granted,
    ):
        of_program(world, "engine-denied", {"DOCKER_HOST": denied}, {"DOCKER_HOST": granted}, "for access")


@case("engine-too-old")
def engine_too_old(world: World) -> None:
    new = world.fake.version
    world.patch.setattr(world.fake, "version", lambda: EngineVersion("19.03.1", "1.40", "linux", "amd64"))
    world.meets("engine-too-old", "up", hand=lambda: world.patch.setattr(world.fake, "version", new), says="20.10")


def compose_found_among(world: World, *candidates: tuple[str, ...]) -> None:
    composecli.find.cache_clear()
    world.patch.setattr(composecli, "_candidates", lambda: list(candidates))
    world.patch.setattr(world.fake, "compose_version", composecli.find)


def compose_that_says(world: World, version: str) -> tuple[str, ...]:
    program = world.folder / f"compose-{version}"
    program.write_text(f"#!/bin/sh\necho {version}\n")
    program.chmod(0o755)
    return (str(program),)


@case("compose-missing")
def compose_missing(world: World) -> None:
    compose_found_among(world)
    install = lambda: compose_found_among(world, compose_that_says(world, "5.6.1"))  # noqa: E731
    world.meets("compose-missing", "up", hand=install, says=r"hailbox\[compose\]")


@case("compose-too-old")
def compose_too_old(world: World) -> None:
    compose_found_among(world, compose_that_says(world, "1.29.2"))
    install = lambda: compose_found_among(world, compose_that_says(world, "5.6.1"))  # noqa: E731
    world.meets("compose-too-old", "up", hand=install, says=r"hailbox\[compose\]")


@case("docker-client-missing")
def docker_client_missing(world: World) -> None:
    """It advises `--json`, which is how this test runs every command; so the error comes from the engine's side."""
    world.up()
    error = DockerClientMissingError("no client", _remedy_of("engine/docker/engine.py", "DockerClientMissingError"))
    assert "hailbox --json exec" in error.remedy
    assert world.run("exec", "chunkd-1", "true").status == 0


def _remedy_of(module: str, kind: str) -> str:
    text = (Path(errors.__file__).parents[1] / module).read_text()
    return text.partition(f"raise {kind}(")[2].partition("\n            )")[0]


@case("port-taken")
def port_taken(world: World) -> None:
    with socket.create_server(("127.0.0.1", 0)) as held:
        hail(world, f"ports: {{cld-1: {held.getsockname()[1]}}}\n")
        world.meets("port-taken", "up", hand=held.close, says="end it")


@case("disk-full")
def disk_full(world: World) -> None:
    world.fake.free = 1 << 20
    world.meets("disk-full", "doctor", hand=lambda: setattr(world.fake, "free", 1 << 40), says="free some space")


@case("leftovers")
def leftovers(world: World) -> None:
    labels = {names.STACK: "old", names.KIND: names.DATA, names.REPLICA: "iwhd-1", names.SERVICE: "iwhd"}
    world.fake.create_volume("hailbox-old-iwhd-1", labels)
    world.meets("leftovers", "doctor")


@case("host-limits")
def host_limits(world: World) -> None:
    ask = (
        "from hailbox.engine import composecli; import sys;"
        "composecli._candidates = lambda: [(sys.executable, '-c', 'bytearray(1 << 30); print(5.6)')];"
        "from hailbox.model.errors import HailboxError\n"
        "try: print(composecli.find().version)\n"
        "except HailboxError as error: print(error.code, error.remedy)"
    )

    def asked(size: int) -> str:
        limit = lambda: resource.setrlimit(resource.RLIMIT_AS, (size, resource.RLIM_INFINITY))  # noqa: E731
        words = [sys.executable, "-c", ask]
        return subprocess.run(words, preexec_fn=limit, capture_output=True, text=True, check=True).stdout

    assert asked(600 << 20).startswith("host-limits run the command from a shell without that limit")
    assert asked(resource.RLIM_INFINITY).strip() == "5.6"


@case("clock-skew")
def clock_skew(world: World) -> None:
    world.fake.clock_ahead = 100.0
    world.meets("clock-skew", "doctor", hand=lambda: setattr(world.fake, "clock_ahead", 0.0), says="NTP")


# images


@case("image-failed")
def image_failed(world: World) -> None:
    (world.folder / "own").mkdir()
    hail(world, "services: {iwhd: {build: ./own}}\n")
    dockerfile = world.folder / "own" / "Dockerfile"
    dockerfile.write_text("FRM x\n")
    build = world.fake.build_image

    def refuse(*arguments: object, **options: object) -> Iterator[str]:
        if not dockerfile.read_text().startswith("FROM"):
            said = "unknown instruction: FRM"
            raise ImageError(f"the image could not be built; the engine said: {said}", "mend what it names")
        return build(*arguments, **options)  # type: ignore[arg-type]

    world.patch.setattr(world.fake, "build_image", refuse)
    world.meets("image-failed", "up", hand=lambda: dockerfile.write_text("FROM x\n"), says="mend")


@case("base-image-missing")
def base_image_missing(world: World) -> None:
    world.fake.all_images.clear()
    world.patch.setenv("HAILBOX_BASE", "my/base:1")
    world.meets(
        "base-image-missing",
        "up",
        hand=lambda: world.patch.setattr(world.fake, "all_images", _all_images()),
        says="build it, or unset HAILBOX_BASE",
    )


def _all_images() -> dict[str, Image]:
    from hailbox.images import build as images

    plan = images.plan(["cld", "chunkd", "tabled", "iwhd"])
    references = (plan.runtime, *plan.services.values())
    return {r: Image(r, (r,), {names.IMAGE: r.partition("/")[2].partition(":")[0]}) for r in references}


@case("own-image-missing")
def own_image_missing(world: World) -> None:
    hail(world, "images: {chunkd: 'my/chunkd:1'}\n")
    image = Image("sha256:mine", ("my/chunkd:1",), {})
    world.meets("own-image-missing", "up", hand=lambda: world.fake.all_images.update({"my/chunkd:1": image}))


def once_refused(world: World, said: str) -> Callable[[], None]:
    """Compose fails with these words until what is returned is called."""
    compose, mended = world.fake.compose, False

    def refuse(*arguments: object) -> None:
        if not mended:
            found = refusals.known(said)
            assert found, said
            raise found
        compose(*arguments)  # type: ignore[arg-type]

    def mend() -> None:
        nonlocal mended
        mended = True

    world.patch.setattr(world.fake, "compose", refuse)
    return mend


@case("wrong-platform")
def wrong_platform(world: World) -> None:
    mend = once_refused(
        world, "image with reference x was found but does not match the specified platform: linux/arm"
    )
    world.meets("wrong-platform", "up", hand=mend, says="for the engine's platform")


# the stack


@case("unknown-stack")
def unknown_stack(world: World) -> None:
    world.meets("unknown-stack", "status")


@case("record-gone")
def record_gone(world: World) -> None:
    for replica in ("iwhd-1", "iwhd-2"):
        labels = {names.STACK: STACK, names.KIND: names.DATA, names.REPLICA: replica, names.SERVICE: "iwhd"}
        world.fake.create_volume(names.data_volume(STACK, replica), labels)
    world.chosen["NAME"] = "failover"
    world.meets("record-gone", "up", says="failover.* --profile NAME")


@case("stack-down")
def stack_down(world: World) -> None:
    world.up()
    assert world.run("down").status == 0
    world.meets("stack-down", *WHY)


@case("fault-in-effect")
def fault_in_effect(world: World) -> None:
    world.up()
    assert world.run("fault", "pause", "chunkd-1").status == 0
    world.meets("fault-in-effect", *WHY)


@case("restore-unfinished")
def restore_unfinished(world: World) -> None:
    world.up()
    world.work["-restore-"] = b"ready\nrestored\n"
    labels = {names.STACK: STACK, names.HELPER: names.RESTORE, names.SNAPSHOT_NAME: "one"}
    world.fake.create_helper(Helper("hailbox-test-restore-1", "x", (), labels))
    world.meets("restore-unfinished", *WHY)


@case("credentials-gone")
def credentials_gone(world: World) -> None:
    world.up()
    kept = world.fake.contents["hailbox-test-credentials"]
    world.fake.contents["hailbox-test-credentials"] = replace(kept, credentials=None, files={})
    world.meets("credentials-gone", *WHY)


@case("credentials-refused")
def credentials_refused(world: World) -> None:
    world.up()
    world.ail("chunkd-1", "start")
    outcome = world.probes._outcome
    refused = Outcome("chunkd-1", Reached.ANSWER, "status 403", 0.1, refused=True)
    world.patch.setattr(world.probes, "_outcome", lambda r: refused if r in world.probes.sick else outcome(r))
    world.meets("credentials-refused", *WHY)


@case("container-gone")
def container_gone(world: World) -> None:
    world.up()
    world.fake.remove_container(container_of(world.fake, "chunkd-1").id)
    world.meets("container-gone", *WHY)


@case("container-stopped")
def container_stopped(world: World) -> None:
    world.up()
    world.ail("chunkd-1", "start", status=1, state=ContainerState.EXITED)
    world.meets("container-stopped", *WHY)


@case("container-paused")
def container_paused(world: World) -> None:
    world.up()
    world.alter("chunkd-1", state=ContainerState.PAUSED)
    world.meets("container-paused", *WHY)


@case("crash-loop")
def crash_loop(world: World) -> None:
    world.up()
    world.ail("chunkd-1", "new", status=1, state=ContainerState.RESTARTING, restarts=9)
    world.meets("crash-loop", *WHY)


@case("out-of-memory")
def out_of_memory(world: World) -> None:
    world.up()
    world.ail("chunkd-1", "start", status=137, state=ContainerState.EXITED, memory=True)
    world.meets("out-of-memory", *WHY)


@case("limit-too-small")
def limit_too_small(world: World) -> None:
    world.up()
    hail(world, "services: {chunkd: {limits: {memory: 12m}}}\n")
    start = world.fake._start

    def start_within(identifier: str) -> None:
        start(identifier)
        known = world.fake.limits.get(identifier)
        small = known is not None and known.memory == 12 << 20
        world.fake.details.clear()
        (world.probes.sick.add if small else world.probes.sick.discard)("chunkd-1") if small else None
        if small:
            world.ail("chunkd-1", "new", status=137, state=ContainerState.RESTARTING, restarts=9, memory=True)

    world.patch.setattr(world.fake, "_start", start_within)
    raise_it = lambda: hail(world, "services: {chunkd: {limits: {memory: 512m}}}\n")  # noqa: E731
    world.meets("limit-too-small", "up", hand=raise_it, says=r"raise services\.chunkd\.limits\.memory")


@case("limits-changed")
def limits_changed(world: World) -> None:
    world.up()
    container = container_of(world.fake, "chunkd-1")
    world.fake.limits[container.id] = replace(world.fake.limits[container.id], pids=3)
    world.meets("limits-changed", *WHY)


@case("network-gone")
def network_gone(world: World) -> None:
    world.up()
    world.ail("chunkd-1", "new")
    world.alter("chunkd-1", networks=())
    world.meets("network-gone", *WHY)


@case("network-blocked")
def network_blocked(world: World) -> None:
    world.up()
    before = set(world.fake.all_networks)
    heal_it = world.ail("tabled-1", "hand")
    remove = world.fake.remove_network

    def remove_and_mend(identifier: str) -> None:
        remove(identifier)
        world.work["-reach-"] = b"open open open\n"
        heal_it()

    world.patch.setattr(world.fake, "remove_network", remove_and_mend)
    world.work["-reach-"] = b"open silent silent\n"
    world.meets("network-blocked", *WHY)
    assert not before & set(world.fake.all_networks)


@case("port-lost")
def port_lost(world: World) -> None:
    world.up()
    world.ail("iwhd-1", "start")
    world.work["-reach-"] = b"open open\n"
    world.patch.setattr(port, "is_closed", lambda host, number: True)
    world.meets("port-lost", *WHY)


@case("volume-gone")
def volume_gone(world: World) -> None:
    world.up()
    assert world.run("down").status == 0
    world.fake.remove_volume("hailbox-test-chunkd-1")
    world.meets("volume-gone", *WHY, keeps=False)


def of_volume(world: World, code: str, trouble: bytes, says: str) -> None:
    world.up()
    cure = world.ail("chunkd-1", "hand", status=74, state=ContainerState.RESTARTING, restarts=4)
    world.work["-volumecheck-"] = trouble + b" 10001 1"

    def mend() -> None:
        world.work["-volumecheck-"] = b"writable 10001 1"
        cure()

    world.meets(code, "up", hand=mend, says=says)


@case("volume-full")
def volume_full(world: World) -> None:
    of_volume(world, "volume-full", b"full", "free some space")


@case("volume-read-only")
def volume_read_only(world: World) -> None:
    of_volume(world, "volume-read-only", b"read-only", "make it writable")


@case("wrong-owner")
def wrong_owner(world: World) -> None:
    world.up()
    cure = world.ail("chunkd-1", "hand", status=74, state=ContainerState.RESTARTING, restarts=4)
    world.work["-volumecheck-"] = b"writable 0 1"
    said = world.fake.work

    def work(helper: Helper) -> bytes:
        if "-own-" in helper.name:
            cure()
        return said(helper)

    world.fake.work = work
    world.meets("wrong-owner", *WHY)


@case("other-release")
def other_release(world: World) -> None:
    world.up()
    cure = world.ail("chunkd-1", "hand", status=65, state=ContainerState.RESTARTING, restarts=4)
    world.work["-volumecheck-"] = b"writable 10001 99"
    world.meets("other-release", "up", hand=cure, says="run the hailbox that made it")


@case("data-in-use")
def data_in_use(world: World) -> None:
    world.up()
    cure = world.ail("chunkd-1", "hand", status=75, state=ContainerState.RESTARTING, restarts=4)
    foreign = replace(container_of(world.fake, "chunkd-1"), id="b", name="backup", labels={}, networks=())
    world.fake.all_containers["b"] = replace(foreign, state=ContainerState.RUNNING)
    world.meets("data-in-use", *WHY, hand=cure, says="docker stop backup")


@case("unresponsive")
def unresponsive(world: World) -> None:
    world.up()
    world.ail("chunkd-1", "start")
    world.meets("unresponsive", *WHY)


@case("not-working")
def not_working(world: World) -> None:
    world.up()
    world.ail("tabled-1", "start")
    outcome = world.probes._outcome
    failing = Outcome("tabled-1", Reached.ANSWER, "status 500", 0.1)
    world.patch.setattr(world.probes, "_outcome", lambda r: failing if r in world.probes.sick else outcome(r))
    world.meets("not-working", *WHY)


@case("data-damaged")
def data_damaged(world: World) -> None:
    """The one code that advises to discard data: what helps nothing else does."""
    world.up()
    world.ail("chunkd-1", "empty", status=65, state=ContainerState.RESTARTING, restarts=4)
    world.meets("data-damaged", "up", says="reset chunkd-1", keeps=False)
    assert world.fake.contents["hailbox-test-tabled-1"].written == 1


@case("snapshot-damaged")
def snapshot_damaged(world: World) -> None:
    world.up()
    world.work |= {"-save-": b"4096\n", "-digest-": b'{"chunkd-1": "a"}', "-restore-": b"ready\nrestored\n"}
    assert world.run("snapshot", "save", "one").status == 0
    world.work["-digest-"] = b'{"chunkd-1": "b"}'
    restore = ("snapshot", "restore", "one")
    asked = world.run(*restore)
    assert asked.errors[0]["code"] == "snapshot-damaged"
    assert "--no-verify" in asked.errors[0]["remedy"]
    assert world.run(*restore, "--no-verify").status == 0


@case("stack-busy")
def stack_busy(world: World) -> None:
    world.up()
    world.fake.create_marker(names.lock(STACK), {names.LOCK: STACK, names.LOCK_HOLDER: "{}"})
    world.patch.setattr(lock, "_take", lambda engine, wait, us, _, take=lock._take: take(engine, wait, us, 0.2))
    world.meets("stack-busy", "down", says="if there is no such process")


@case("fault-failed")
def fault_failed(world: World) -> None:
    world.up()
    world.work["-fault-"] = b"no such process\n"
    start = lambda: world.work.update({"-fault-": b"ready\n"})  # noqa: E731
    world.patch.setattr(inject, "_READY_DEADLINE", 0.1, raising=False)
    world.meets("fault-failed", "fault", "pause", "chunkd-1", hand=start)


@case("command-failed")
def command_failed(world: World) -> None:
    world.up()
    execute = world.fake.execute
    world.patch.setattr(
        world.fake, "execute", lambda i, words: replace(execute(i, words), status=int("false" in words))
    )
    world.meets("command-failed", "exec", "cld-1", "false", hand=bool, says="printed", then=("exec", "cld-1", "true"))


@case("seed-failed")
def seed_failed(world: World) -> None:
    seed = world.folder / "seed.sh"
    seed.write_text("#!/bin/sh\necho no luck; exit 3\n")
    seed.chmod(0o755)
    hail(world, "seed: ./seed.sh\n")

    def mend() -> None:
        seed.write_text('#!/bin/sh\necho "$HAILBOX_STACK" >seeded\n')

    world.meets("seed-failed", "up", hand=mend, says="mend the seed")
    assert (world.folder / "seeded").read_text() == f"{STACK}\n"


# the engine


@case("engine-failed")
def engine_failed(world: World) -> None:
    """A hiccup of the engine: to run the command again, as it advises, suffices."""
    world.up()
    networks, failures = world.fake.networks, itertools.count()

    def fail_once(labels: dict[str, str | None]) -> list[Network]:
        if next(failures) == 0:
            raise EngineFailedError("the engine answered with an error: EOF", "run the command again")
        return networks(labels)

    world.patch.setattr(world.fake, "networks", fail_once)
    world.meets("engine-failed", "status", hand=bool, says="run the command again")


@case("name-taken")
def name_taken(world: World) -> None:
    foreign = Container("f", "hailbox-test-cld-1", "x", "sha256:x", ContainerState.RUNNING)
    world.fake.all_containers["f"] = foreign
    world.meets("name-taken", "up")
    assert world.fake.all_containers["f"].name == "other-name"


@case("network-twice")
def network_twice(world: World) -> None:
    world.up()
    assert world.run("down").status == 0
    world.fake.all_networks["abcdef0123456789"] = Network("abcdef0123456789", "hailbox-test", {})
    world.meets("network-twice", "up")


@case("no-address-pool")
def no_address_pool(world: World) -> None:
    mend = once_refused(world, "could not find an available, non-overlapping IPv4 address pool among the defaults")
    error = world.run("up").errors[0]
    assert (error["code"], "docker network prune" in error["remedy"]) == ("no-address-pool", True)
    mend()
    assert world.run("up").status == 0


@case("compose-failed")
def compose_failed(world: World) -> None:
    """Compose itself, on a file that it refuses."""
    program = world.folder / "compose"
    program.write_text("#!/bin/sh\necho no space in name >&2\nexit 15\n")
    program.chmod(0o755)
    world.patch.setattr(composecli, "find", lambda: ComposeVersion((str(program),), "5.6.1"))
    run_it = lambda project, file, words: composecli.run(project, file, words, engine={})  # noqa: E731
    compose = world.fake.compose
    world.patch.setattr(world.fake, "compose", run_it)
    mend = lambda: world.patch.setattr(world.fake, "compose", compose)  # noqa: E731
    world.meets("compose-failed", "up", hand=mend, says="mend that, then run the command again")


@case("helper-failed")
def helper_failed(world: World) -> None:
    world.up()
    ended, statuses = world.fake.run_helper, itertools.chain([1], itertools.repeat(0))

    def fail_once(helper: Helper, *, deadline: float) -> bytes:
        if "-save-" in helper.name and next(statuses):
            raise errors.HelperFailedError.of(helper.name, 1, [b"Input/output error"])
        return ended(helper, deadline=deadline)

    world.patch.setattr(world.fake, "run_helper", fail_once)
    world.work |= {"-save-": b"4096\n", "-digest-": b"{}"}
    world.meets("helper-failed", "snapshot", "save", "one", hand=bool, says="run the command again")


@case("internal-error")
def internal_error(world: World) -> None:
    world.patch.setattr(up_verb, "look", lambda context: 1 / 0)
    error = world.run("up").errors[0]
    assert (error["code"], "--debug" in error["remedy"]) == ("internal-error", True)


@case("interrupted")
def interrupted_command(world: World) -> None:
    status, _, said = interrupted(world.folder, "ls")
    assert status == 130
    ((_, *words),) = advice.commands(said.splitlines()[-1].removeprefix("  → "))
    with serve(world.folder, engine(EMPTY)) as address:
        variables = environment(world.folder, DOCKER_HOST=address)
        assert subprocess.run(command(*words), env=variables, capture_output=True, check=False).returncode == 0


# the walk


def codes(root: type[HailboxError] = HailboxError) -> Iterator[str]:
    for kind in root.__subclasses__():
        if kind.__module__ == errors.__name__:
            yield kind.code
            yield from codes(kind)


def test_no_error_is_missing_in_the_walk() -> None:
    branches = {errors.HostError, errors.StackError}
    assert CASES.keys() == set(codes()) - {kind.code for kind in branches if "code" not in vars(kind)} | {
        "internal-error"
    }


@pytest.mark.parametrize("code", sorted(CASES))
def test_what_an_error_advises_helps(
    fake: FakeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], code: str
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    CASES[code](World(fake, tmp_path, monkeypatch, lambda: capfd.readouterr().out))


def test_commands_are_read_out_of_an_advice() -> None:
    remedy = (
        "give it another name: docker rename x OTHER-NAME; or remove it, if nothing needs it: docker rm x; then run: "
        "hailbox --stack a up; no data is lost by that"
    )
    assert advice.commands(remedy) == [["docker", "rename", "x", "OTHER-NAME"], ["hailbox", "--stack", "a", "up"]]
    assert advice.commands("free some space (docker system df shows what takes it), then run: hailbox up") == [
        ["hailbox", "up"]
    ]
    assert advice.commands("set both clocks by NTP") == []
