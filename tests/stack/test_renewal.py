"""`reset` re-creates containers and volumes without Compose: they are what Compose would have made."""

from typing import Any

import pytest

from support.enginestack import Stack

VOLATILE = {"Id", "Created", "State", "LogPath", "HostsPath", "HostnamePath", "ResolvConfPath", "GraphDriver"}
OF_ENDPOINT = {"EndpointID", "IPAddress", "MacAddress", "NetworkID", "DNSNames", "Aliases"}


def described(stack: Stack) -> dict[str, Any]:
    """All that an inspection shows of the containers and volumes, but for what belongs to this very one."""
    found: dict[str, Any] = {}
    label = {"label": f"org.hailbox.stack={stack.name}"}
    for container in stack.client.containers.list(all=True, filters=label):
        shown = {key: value for key, value in container.attrs.items() if key not in VOLATILE}
        networks = shown.pop("NetworkSettings")["Networks"]
        shown["networks"] = {
            name: {key: value for key, value in endpoint.items() if key not in OF_ENDPOINT}
            | {"names": sorted(set(endpoint["Aliases"] or ()) - {container.id[:12]})}
            for name, endpoint in networks.items()
        }
        # Compose writes the variables in any order.
        shown["Config"]["Env"] = sorted(shown["Config"]["Env"])
        shown["HostConfig"]["Binds"] = sorted(shown["HostConfig"]["Binds"] or ())
        shown["Mounts"] = sorted(shown["Mounts"], key=lambda mount: str(mount["Destination"]))
        found[container.name] = shown
    for volume in stack.client.volumes.list(filters=label):
        found[volume.name + " (volume)"] = {key: value for key, value in volume.attrs.items() if key != "CreatedAt"}
    return found


@pytest.mark.timeout(300)
def test_what_reset_makes_is_what_compose_made(stack: Stack) -> None:
    stack.run("up")
    before, ids = described(stack), {name: stack.client.containers.get(name).id for name in stack.containers()}
    stack.run("reset")
    assert described(stack) == before
    now = {name: stack.client.containers.get(name).id for name in stack.containers()}
    kept = {name for name in ids if ids[name] == now[name]}
    assert kept == {f"hailbox-{stack.name}-credentials"}
    # Compose, asked for the same stack, finds nothing to do.
    stack.container("tabled-1").remove(force=True)
    assert stack.run("up").data["changed"] == ["tabled-1"]
    after = {name: stack.client.containers.get(name).id for name in stack.containers()}
    assert {name for name in now if now[name] != after[name]} == {f"hailbox-{stack.name}-tabled-1"}
    assert described(stack) == before
