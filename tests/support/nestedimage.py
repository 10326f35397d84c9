"""The images of nested engines, each made once for each content of its Dockerfile and each base image."""

import hashlib
import subprocess
import sys
from pathlib import Path

import docker
import docker.errors

from hailbox.images.base import BASE
from support.enginestack import ROOT

ENGINE_26 = Path(__file__).parent / "engine26"
ENGINE_28 = Path(__file__).parent / "engine28"
ROOTLESS_26 = Path(__file__).parent / "rootless26"
PODMAN_5 = Path(__file__).parent / "podman5"


def have_base(client: docker.DockerClient) -> str:
    """The id of hailbox's base image, which the set-up has made; made here where it has not."""
    try:
        return str(client.images.get(BASE).id)
    except docker.errors.ImageNotFound:
        subprocess.run([sys.executable, str(ROOT / "scripts" / "base.py")], check=True, cwd=ROOT)
        return str(client.images.get(BASE).id)


def ensure(client: docker.DockerClient, folder: Path) -> str:
    """Have the image of that folder on this engine; returns its reference, whose tag is a hash of what it is made
    from."""
    repository = f"hailbox/test-{folder.name}"
    made_from = (folder / "Dockerfile").read_bytes() + have_base(client).encode()
    reference = f"{repository}:{hashlib.sha256(made_from).hexdigest()[:16]}"
    try:
        client.images.get(reference)
    except docker.errors.ImageNotFound:
        client.images.build(path=str(folder), tag=reference, buildargs={"BASE": BASE}, rm=True)
        for image in client.images.list(repository):
            for old in set(image.tags) - {reference}:
                client.images.remove(old)
    return reference
