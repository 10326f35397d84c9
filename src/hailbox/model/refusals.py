"""What an engine or Compose refuses, told apart by its own words, as neither has codes for it.

The only reading of foreign texts for their meaning beside `diskspace`; their words are English in every locale. Where
a text is not known here, it stays what it is: quoted, with the code of what failed.
"""

from __future__ import annotations

import re
from typing import Final

from hailbox.model import diskspace
from hailbox.model.errors import (
    HailboxError,
    HelperFailedError,
    LimitTooSmallError,
    NameTakenError,
    NetworkBlockedError,
    NetworkTwiceError,
    NoAddressPoolError,
    VolumeGoneError,
    WrongPlatformError,
)

_NO_POOL: Final = re.compile(
    # moby libnetwork: ErrNoAvailablePool (until 27), "fully subnetted" (28 and later); netavark's own words.
    r"non-overlapping IPv4 address pool|predefined address pools have been fully subnetted"
    r"|could not find free subnet from subnet pools",
    re.IGNORECASE,
)
_NETWORK_TWICE: Final = re.compile(
    # moby daemon/network.go; Compose, of a network that another project or a hand has made.
    r"network (?P<a>\S+) is ambiguous|network with name (?P<b>\S+) (already exists|exists but was not created)"
    r"|\d+ matches found (based )?on name: network (?P<c>\S+)",
    re.IGNORECASE,
)
_NAME_TAKEN: Final = re.compile(
    # moby daemon/names.go; libpod.
    r'container name "?/?(?P<name>[\w.-]+)"? is already in use(?: by (?:container )?"?(?P<holder>[0-9a-f]{12}))?',
    re.IGNORECASE,
)
_PLATFORM: Final = re.compile(
    # moby (GetImage), containerd store, a pull of a manifest list without ours.
    r"does not (match|provide) the specified platform|no match(ing manifest)? for (platform|linux)[^\n]*",
    re.IGNORECASE,
)
_NO_RULES: Final = re.compile(
    # moby libnetwork/iptables, where another program has removed the engine's chains; nftables' words for the same.
    r"iptables[^\n]*(No chain/target/match by that name|Chain '?DOCKER\S* does not exist)"
    r"|Unable to enable [^\n]*rule[^\n]*iptables failed",
    re.IGNORECASE,
)
_LIMIT: Final = re.compile(
    # moby daemon/daemon_unix.go; runc, whose first process already gets no thread or no memory.
    r"minimum memory limit allowed is [^\n]*"
    r"|(OCI runtime|runc|container init)[^\n]*(resource temporarily unavailable|cannot allocate memory"
    r"|unable to set memory limit|possibly OOM-killed|OOM-killed|failed to create new OS thread)",
    re.IGNORECASE,
)
_NO_HOST_PROCESSES: Final = re.compile(
    # moby daemon/daemon_unix.go, with userns-remap.
    r"cannot share the host'?s? \w* ?namespace when user namespaces are enabled",
    re.IGNORECASE,
)
_VOLUME_BROKEN: Final = re.compile(
    # moby volume/local and its copying into a fresh volume, with the system's own words at the end.
    r"/hailbox-(?P<stack>[a-z0-9-]+)-(?P<replica>(cld|chunkd|tabled|iwhd)-\d+)/_data: "
    r"(no such file or directory|not a directory)",
)


def known(said: str) -> HailboxError | None:
    """The error that these words of an engine or of Compose mean; None if they are not known."""
    line = next((part.strip() for part in said.splitlines() if _any(part)), "")
    if not line:
        return None
    if diskspace.is_full(line):
        return diskspace.engine_full(line)
    if _NO_POOL.search(line):
        return NoAddressPoolError(
            f"the engine has no address range left for another network: {line}",
            "remove networks that nothing uses (docker network prune), or give the engine more ranges: "
            "default-address-pools in its daemon.json",
        )
    if found := _NETWORK_TWICE.search(line):
        name = next(group for group in found.groupdict().values() if group)
        return NetworkTwiceError(
            f"another network is called {name}, as the stack's is: {line}",
            f"see which one nothing uses, and remove it by its id: docker network ls --filter name={name}",
        )
    if found := _NAME_TAKEN.search(line):
        holder = found["holder"] or found["name"]
        return NameTakenError(
            f"the name {found['name']} is taken by a container that hailbox did not make: {line}",
            f"rename it, or remove it if it is not needed: docker rename {holder} OTHER-NAME",
        )
    if _NO_RULES.search(line):
        return NetworkBlockedError(
            f"the engine's packet filter rules are gone, so it can publish no port and make no network: {line}",
            "restart the engine, which makes them again (systemctl restart docker), then run the command again; no "
            "data is lost",
        )
    if _LIMIT.search(line):
        return LimitTooSmallError(
            f"a container cannot start within its limits: {line}",
            "raise services.SERVICE.limits in hailbox.yaml, or take it out (hailbox config shows what is set), then "
            "run the command again",
        )
    if _NO_HOST_PROCESSES.search(line):
        return HelperFailedError(
            f"the engine lets no helper see its machine's processes, as it gives containers user namespaces: {line}",
            "use faults that need none of them (isolate, partition, slow, corrupt), or an engine without "
            "userns-remap in its daemon.json",
        )
    if found := _VOLUME_BROKEN.search(line):
        return VolumeGoneError(
            f"the data of {found['replica']} is gone: the engine lists its volume, and the directory of it is not "
            f"there any more: {line}",
            "put the directory back, and run the command again; if you have no copy, go on with an empty volume: "
            f"hailbox --stack {found['stack']} reset {found['replica']}",
        )
    return WrongPlatformError(
        f"an image is for another platform than the engine's: {line}",
        "name an image for the engine's platform in hailbox.yaml, or build it there (docker version shows OS/Arch)",
    )


def _any(line: str) -> bool:
    patterns = (
        _NO_POOL,
        _NETWORK_TWICE,
        _NAME_TAKEN,
        _NO_RULES,
        _LIMIT,
        _NO_HOST_PROCESSES,
        _VOLUME_BROKEN,
        _PLATFORM,
    )
    return diskspace.is_full(line) or any(pattern.search(line) for pattern in patterns)
