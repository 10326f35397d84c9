"""The part of `Engine` that is about images."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

from hailbox.engine.docker import objects, stream
from hailbox.engine.docker.requests import Requests, root
from hailbox.engine.port import (
    NO_OPTIONS,
    Image,
)
from hailbox.model.errors import ImageError

if TYPE_CHECKING:  # the package takes 0.1 s to import: at the first request, and not before
    pass

_GONE: Final = object()
_KEPT_BUILD_LINES: Final = 12


class ImageRequests(Requests):
    """Looking at images, building, pulling and pushing them."""

    def images(self, labels: Mapping[str, str | None], *, hidden: bool = False) -> list[Image]:
        with self._asking() as client:
            entries = client.images(all=hidden, filters=objects.having(labels))
        with self._reading():
            return [objects.image(entry) for entry in entries]

    def image(self, reference: str) -> Image | None:
        found: Any = _GONE
        with self._removing() as client:
            found = client.inspect_image(reference)
        with self._reading():
            return None if found is _GONE else objects.image(found)

    def image_steps(self, reference: str) -> tuple[str, ...]:
        steps: list[Any] = []
        with self._removing() as client:
            steps = client.history(reference)
        return tuple(f"{step['Created']} {step['CreatedBy']}" for step in steps)

    def remove_image(self, reference: str) -> None:
        with self._removing() as client:
            client.remove_image(reference)

    def pull_image(self, reference: str) -> None:
        from hailbox.engine.docker import registries

        with self._asking() as client:
            registries.pull(client, reference)

    def tag_image(self, reference: str, name: str) -> None:
        with self._asking() as client:
            client.tag(reference, *objects.split(name))

    def push_image(self, reference: str) -> None:
        from hailbox.engine.docker import registries

        with self._asking() as client:
            registries.push(client, reference)

    def import_image(self, archive: Path, reference: str, *, labels: Mapping[str, str]) -> None:
        repository, tag = objects.split(reference)
        changes = [f'LABEL {name}="{value}"' for name, value in labels.items()]
        with self._asking() as client:
            said = client.import_image_from_file(str(archive), repository, tag, changes=changes)
        self._name_imported(said, reference)

    def _name_imported(self, said: str, reference: str) -> None:
        from hailbox.engine.docker import registries

        made = registries.imported(said, reference)
        if self.image(reference) is None:
            self.tag_image(made, reference)  # Podman 4 forgets the tag

    def build_image(
        self, context: bytes, reference: str, *, labels: Mapping[str, str], options: Mapping[str, str] = NO_OPTIONS
    ) -> Iterator[str]:
        said: list[str] = []
        query = {"t": reference, "labels": json.dumps(dict(labels)), "rm": 1, "forcerm": 1, "networkmode": "none"}
        with self._asking() as client:
            # Not client.build: that asks every credential helper of the user's, and we need no registry.
            answer = client.post(
                f"{root(client)}/build",
                params={**query, **options},
                data=context,
                headers={"Content-Type": "application/x-tar"},
                stream=True,
            )
            answer.raise_for_status()
            for step in map(json.loads, stream.lines(answer.iter_content(None))):
                text = str(step.get("stream") or step.get("error") or "").rstrip()
                if text:
                    said.append(text)
                    yield text
                if "error" in step:
                    self._refuse_build(reference, said)

    def _refuse_build(self, reference: str, said: Sequence[str]) -> NoReturn:
        self.check_disk()
        last = "\n  ".join(said[-_KEPT_BUILD_LINES:])
        raise ImageError(
            f"the image {reference} could not be built; the engine said:\n  {last}",
            "mend what it names and run `hailbox build`",
        )

    def pack_directory(self, directory: Path, dockerfile: str) -> bytes:
        from hailbox.engine.docker import buildcontext

        try:
            return buildcontext.pack(directory, dockerfile)
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "its .dockerignore is not UTF-8"
            raise ImageError(f"{directory} cannot be read: {reason}", "make it readable") from error
