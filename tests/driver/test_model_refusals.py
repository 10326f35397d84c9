"""What engines and Compose say when they refuse: each kind has its code and a remedy that fits."""

from __future__ import annotations

import pytest

from hailbox.model import refusals

SAID = [
    (
        "Error response from daemon: could not find an available, non-overlapping IPv4 address pool among the "
        "defaults to assign to the network",
        ("no-address-pool", 6),
    ),
    ("Error response from daemon: all predefined address pools have been fully subnetted", ("no-address-pool", 6)),
    ("could not find free subnet from subnet pools", ("no-address-pool", 6)),
    ("network hailbox-hail is ambiguous (2 matches found on name)", ("network-twice", 6)),
    ("2 matches found based on name: network hailbox-hail is ambiguous", ("network-twice", 6)),
    ("Error response from daemon: network with name hailbox-hail already exists", ("network-twice", 6)),
    (
        'a network with name hailbox-hail exists but was not created for project "hailbox-hail".\n'
        "Set `external: true` to use an existing network",
        ("network-twice", 6),
    ),
    (
        'Error response from daemon: Conflict. The container name "/hailbox-hail-cld-1" is already in use by '
        'container "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef". You have to '
        "remove (or rename) that container to be able to reuse that name.",
        ("name-taken", 6),
    ),
    (
        'the container name "hailbox-hail-cld-1" is already in use by 0123456789abcdef. You have to remove that '
        "container to be able to reuse that name: that name is already in use",
        ("name-taken", 6),
    ),
    (
        "image with reference x was found but does not match the specified platform: wanted linux/amd64, actual: "
        "linux/arm64/v8",
        ("wrong-platform", 4),
    ),
    (
        "image with reference x was found but does not provide the specified platform (linux/arm64)",
        ("wrong-platform", 4),
    ),
    ("no matching manifest for linux/arm64/v8 in the manifest list entries", ("wrong-platform", 4)),
    ("write /var/lib/docker/x: no space left on device", ("disk-full", 3)),
    (
        "driver failed programming external connectivity on endpoint hailbox-hail-cld-1: (iptables failed: iptables "
        "--wait -t nat -A DOCKER -p tcp -d 127.0.0.1 --dport 8081: iptables: No chain/target/match by that name.",
        ("network-blocked", 5),
    ),
    (
        "Failed to Setup IP tables: Unable to enable SKIP DNAT rule:  (iptables failed: iptables -t nat -I DOCKER",
        ("network-blocked", 5),
    ),
    ("Error response from daemon: Minimum memory limit allowed is 6MB", ("limit-too-small", 5)),
    (
        "failed to create shim: OCI runtime create failed: runc create failed: unable to start container process: "
        "fork/exec /proc/self/exe: resource temporarily unavailable: unknown",
        ("limit-too-small", 5),
    ),
    (
        "OCI runtime create failed: container_linux.go:380: starting container process caused: process_linux.go:545: "
        "container init was OOM-killed (memory limit too low?): unknown",
        ("limit-too-small", 5),
    ),
    ("cannot share the host PID namespace when user namespaces are enabled", ("helper-failed", 6)),
]


@pytest.mark.parametrize(
    ("said", "expected"), SAID, ids=lambda value: value[:40] if isinstance(value, str) else value[0]
)
def test_each_kind_has_its_code(said: str, expected: tuple[str, int]) -> None:
    found = refusals.known(f" Network hailbox-hail  Creating\n{said}\n")
    assert found is not None
    assert (found.code, found.exit_status) == expected
    assert "reset" not in found.remedy
    assert said.splitlines()[0] in found.problem


def test_a_remedy_names_what_is_in_the_way() -> None:
    found = refusals.known(SAID[7][0])
    assert found is not None
    assert "docker rename 0123456789ab OTHER-NAME" in found.remedy
    assert "hailbox-hail-cld-1" in found.problem
    twice = refusals.known(SAID[3][0])
    assert twice is not None
    assert twice.remedy.endswith("docker network ls --filter name=hailbox-hail")


def test_a_volume_without_its_directory_is_gone() -> None:
    where = "/var/lib/docker/volumes/hailbox-a-b-iwhd-1/_data"
    for said in (f"open {where}: no such file or directory", f"readdirent {where}: not a directory"):
        found = refusals.known(f"Error response from daemon: {said}")
        assert found is not None
        assert (found.code, found.exit_status) == ("volume-gone", 5)
        assert found.remedy.endswith("hailbox --stack a-b reset iwhd-1")


@pytest.mark.parametrize(
    "said", ["", "Container hailbox-x-cld-1  Creating", "unknown driver", "port is already allocated"]
)
def test_other_words_are_left_alone(said: str) -> None:
    assert refusals.known(said) is None
