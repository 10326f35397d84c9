"""Engines in containers of the first one, for a user without the administrator's rights. Needs root.

The engine's process is that of the user `dev` in the container, whose containers are in user and network name spaces
of their own below it. What they publish is on the container's loopback, as with `NestedEngine`.
"""

from typing import ClassVar

from support import nestedimage
from support.nestedengine import NestedEngine

USER = "dev"
_RUNTIME = "/run/user/1000"

_PREPARE = """\
set -e
# Docker hides some of /proc and /sys, and then the kernel lets no other user mount its own (mount_namespaces(7)).
hidden=$(grep -E ' (/proc/|/sys/firmware)' /proc/self/mountinfo | cut -d' ' -f5 | sort -r)
for place in $hidden; do umount $place; done
mount -o remount,rw /sys
mount --make-rshared /
chmod 666 /dev/net/tun
mkdir -p {runtime}
chown {user} {runtime} {folder} {data}
"""

_PODMAN = """\
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "runc"
"""
"""No systemd runs there; and crun refuses machines that mix both versions of control groups."""


class _NestedUserEngine(NestedEngine):
    """One engine of that user, started; `close` removes all of it."""

    def _make(self) -> None:
        super()._make()
        prepare = _PREPARE.format(user=USER, runtime=_RUNTIME, folder=self.folder, data=self.data)
        done = self.container.exec_run(["sh", "-c", prepare])
        assert done.exit_code == 0, done.output

    def _as_user(self, program: str, **variables: str) -> str:
        given = {"HOME": f"/home/{USER}", "XDG_RUNTIME_DIR": _RUNTIME, **variables}
        words = " ".join(f"{name}={value}" for name, value in given.items())
        return f"setpriv --reuid {USER} --regid {USER} --init-groups env {words} {program}"


class NestedPodman(_NestedUserEngine):
    """Podman 5.4."""

    image_folder: ClassVar = nestedimage.PODMAN_5

    def _make(self) -> None:
        super()._make()
        (self.folder / "containers.conf").write_text(_PODMAN)

    def _program(self) -> str:
        program = f"podman --root {self.data}/storage system service -t 0 {self.address}"
        return self._as_user(program, CONTAINERS_CONF=f"{self.folder}/containers.conf")


class NestedRootlessDocker(_NestedUserEngine):
    """Docker 26.1, by the script that Debian has for it."""

    image_folder: ClassVar = nestedimage.ROOTLESS_26

    def _program(self) -> str:
        script = "/usr/share/docker.io/contrib/dockerd-rootless.sh"
        return self._as_user(f"{script} --data-root {self.data}/docker -H {self.address}")
