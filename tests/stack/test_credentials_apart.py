"""All replicas mount the volume with the credentials, and each reads its own files only."""

import io
import tarfile

import docker.models.containers

from support.enginestack import Stack

LOOK = """
import os
for known in %r:
    try: print(known, [open(os.path.join(known, name), 'rb').read(1) for name in os.listdir(known)])
    except PermissionError: print(known, 'refused')
try: open('/etc/hailbox/credentials.json'); print('all')
except PermissionError: pass
"""


def test_no_container_reads_the_files_of_another_one(stack: Stack) -> None:
    stack.run("up")
    replicas = ("cld-1", "chunkd-1", "tabled-1", "iwhd-1")
    folders = _listed(stack.container("cld-1"))
    assert sorted(name.rpartition("-")[0] for name in folders) == sorted(replicas)
    paths = [f"/etc/hailbox/{name}" for name in folders]
    for replica in replicas:
        done = stack.container(replica).exec_run(["python3", "-c", LOOK % paths])
        said = done.output.decode().splitlines()
        assert done.exit_code == 0, said
        allowed = [line for line in said if not line.endswith("refused")]
        assert len(allowed) == 1, said
        assert allowed[0].startswith(f"/etc/hailbox/{replica}-"), said


def _listed(container: docker.models.containers.Container) -> list[str]:
    """The folders in the volume, as the engine sees them."""
    blocks, _ = container.get_archive("/etc/hailbox")
    with tarfile.open(fileobj=io.BytesIO(b"".join(blocks))) as archive:
        return [member.name.partition("/")[2] for member in archive if member.isdir() and "/" in member.name]
