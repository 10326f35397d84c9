"""A registry on the machine of a nested engine: Debian's docker-registry, on that machine's loopback."""

import contextlib
import hashlib
import json
import shutil
import urllib.request
from collections.abc import Iterator

import tenacity

from support.nestedengine import NestedEngine

PORT = 5000
HOST = f"127.0.0.1:{PORT}"
DEADLINE = 20.0
_CONFIGURATION = """\
version: 0.1
storage: {{filesystem: {{rootdirectory: {folder}/data}}, delete: {{enabled: true}}}}
http: {{addr: "127.0.0.1:{port}"}}
"""
_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"


@contextlib.contextmanager
def on(engine: NestedEngine) -> Iterator[None]:
    """A registry there, empty; `HOST` is its name for the engine, and for who is `entered`."""
    folder = engine.folder / "registry"
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "data").mkdir(parents=True)
    (folder / "config.yml").write_text(_CONFIGURATION.format(folder=folder, port=PORT))
    command = f"echo $$ >{folder}/pid; exec docker-registry serve {folder}/config.yml >{folder}/log 2>&1"
    engine.container.exec_run(["sh", "-c", command], detach=True)
    try:
        with engine.entered():
            tenacity.Retrying(
                retry=tenacity.retry_if_exception_type(OSError),
                wait=tenacity.wait_random_exponential(multiplier=0.02, max=0.2),
                stop=tenacity.stop_after_delay(DEADLINE),
                reraise=True,
            )(lambda: _ask("GET", "/v2/"))
        yield
    finally:
        engine.container.exec_run(["sh", "-c", f"kill $(cat {folder}/pid)"])


def make_index(repository: str, tag: str, architecture: str) -> None:
    """Replace the image of that tag by an index that has it for its architecture, and for another one what is not
    there (OCI Distribution Specification, "Pushing manifests")."""
    manifest = _ask("GET", f"/v2/{repository}/manifests/{tag}", accept=_MANIFEST)
    entry = {
        "mediaType": _MANIFEST,
        "size": len(manifest),
        "digest": f"sha256:{hashlib.sha256(manifest).hexdigest()}",
        "platform": {"os": "linux", "architecture": architecture},
    }
    index = {"schemaVersion": 2, "mediaType": _INDEX, "manifests": [entry]}
    _ask("PUT", f"/v2/{repository}/manifests/{tag}", json.dumps(index).encode(), content=_INDEX)


def _ask(
    method: str, path: str, body: bytes | None = None, *, accept: str = "*/*", content: str = "application/json"
) -> bytes:
    request = urllib.request.Request(
        f"http://{HOST}{path}", body, {"Accept": accept, "Content-Type": content}, method=method
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        return bytes(answer.read())
