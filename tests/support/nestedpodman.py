"""Podman 5.4 in a container of the first engine, for a user without rights of the administrator. Needs root.

The service's process is that of the user `dev` in the container, whose containers are in user and network name spaces
of their own below it. What they publish is on the container's loopback, as with `NestedEngine`.
"""

from typing import ClassVar

from support import nestedimage
from support.nestedengine import NestedEngine

USER = "dev"
_CONFIGURATION = """\
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "runc"
"""
"""No systemd runs there; and crun refuses machines that mix both versions of control groups."""

_PREPARE = """\
set -e
# Docker hides some of /proc and /sys, and then the kernel lets no other user mount its own (mount_namespaces(7)).
hidden=$(grep -E ' (/proc/|/sys/firmware)' /proc/self/mountinfo | cut -d' ' -f5 | sort -r)
for place in $hidden; do umount $place; done
mount -o remount,rw /sys
mount --make-rshared /
chmod 666 /dev/net/tun
mkdir -p /run/user/1000
chown {user} /run/user/1000 {folder} {data}
"""


class NestedPodman(NestedEngine):
    """One such Podman, started; `close` removes all of it."""

    image_folder: ClassVar = nestedimage.PODMAN_5

    def _make(self) -> None:
        super()._make()
        (self.folder / "containers.conf").write_text(_CONFIGURATION)
        prepare = _PREPARE.format(user=USER, folder=self.folder, data=self.data)
        done = self.container.exec_run(["sh", "-c", prepare])
        assert done.exit_code == 0, done.output

    def _program(self) -> str:
        variables = f"HOME=/home/{USER} XDG_RUNTIME_DIR=/run/user/1000 CONTAINERS_CONF={self.folder}/containers.conf"
        user = f"setpriv --reuid {USER} --regid {USER} --init-groups"
        return f"{user} env {variables} podman --root {self.data}/storage system service -t 0 {self.address}"
