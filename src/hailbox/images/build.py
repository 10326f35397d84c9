"""Which images a stack needs, named by their content, and how the missing ones are made."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final, TypeVar

from hailbox import resources
from hailbox.engine.port import Engine
from hailbox.images import base as base_image
from hailbox.images import cache, ours, registry
from hailbox.images.context import DOCKERFILE, Context, read_tree, with_arguments
from hailbox.images.progress import ImageProgress, Phase, Report, phase
from hailbox.model import names
from hailbox.model.catalog import ONE_SHOT
from hailbox.model.errors import UnknownServiceError

__all__ = ["ImagePlan", "ImageProgress", "Phase", "Report", "ensure", "plan"]

RUNTIME: Final = "runtime"
LOCK: Final = "wheels.lock"
_NOT_SERVICES: Final = {"base", RUNTIME}

_T = TypeVar("_T")


@dataclass(frozen=True)
class ImagePlan:
    """The images that a stack needs; references are `hailbox/NAME:HASH`."""

    base_source: str | None
    """The image that the user wants as the base; None for ours."""
    runtime: str
    services: Mapping[str, str]
    """By service."""
    contexts: Mapping[str, Context]
    """By reference: the content, as it was hashed; the runtime's without the wheels that its lock names."""

    @property
    def base(self) -> str:
        """The reference of the base image."""
        return base_image.reference(self.base_source)


def _services() -> list[str]:
    """The services that have an image of their own."""
    return sorted(
        entry.name
        for entry in resources.directory("images").iterdir()
        if (entry / DOCKERFILE).is_file() and entry.name not in _NOT_SERVICES
    )


def _context(image: str, arguments: Mapping[str, str], files: Mapping[str, bytes]) -> Context:
    """The folder of an image with `arguments` filled into its Dockerfile, and more files."""
    own = read_tree(resources.directory("images") / image)
    return Context({**own, **files, DOCKERFILE: with_arguments(own[DOCKERFILE], arguments)})


def plan(services: Sequence[str], base: str | None = None) -> ImagePlan:
    """Work out which images these services need, from the files as they are now; asks no engine.

    `base` names the base image, else the environment variable HAILBOX_BASE does. The one-shot service
    `credentials` runs in the runtime image. Raises UnknownServiceError.
    """
    known = _services()
    source = base or os.environ.get("HAILBOX_BASE") or None
    daemons = resources.daemons()
    own_folders = {f"{service}/" for service in known}
    common = read_tree(daemons, "lib/haild/", skip=own_folders.__contains__)
    lock = (resources.directory("images") / LOCK).read_bytes()
    context = _context(RUNTIME, {"BASE": base_image.reference(source)}, {**common, LOCK: lock})
    runtime = f"hailbox/{RUNTIME}:{context.digest()}"
    contexts = {runtime: context}
    references = {}
    for service in services:
        if service == ONE_SHOT:
            references[service] = runtime
            continue
        if service not in known:
            raise UnknownServiceError(f"there is no image for service {service!r}", f"there are: {', '.join(known)}")
        context = _context(service, {"RUNTIME": runtime}, read_tree(daemons / service, f"haild/{service}/"))
        references[service] = f"hailbox/{service}:{context.digest()}"
        contexts[references[service]] = context
    return ImagePlan(source, runtime, references, contexts)


def ensure(
    engine: Engine,
    plan: ImagePlan,
    *,
    known: Collection[str] = (),
    shared: str | None = None,
    progress: Report = lambda event: None,
) -> dict[str, str]:
    """Have all images of the plan on the engine, building the missing ones; returns references by service.

    What a registry has below the prefix `shared` is pulled and not built. Of those in `known`
    the caller has just seen that they are there, so that no request is needed.
    Raises ImageError, BaseImageError, DiskFullError, and what `Engine` raises. What was made before a failure
    is kept and used by the next run. `progress` may be called from several threads.
    """
    if _missing(engine, plan, known):
        from hailbox.images import prune  # here, as nearly every run finds all that it needs

        # Two runs would do the same work twice.
        with cache.lock("images"):
            if shared:
                registry.pull(engine, shared, _missing(engine, plan), progress)
            _build_missing(engine, plan, progress)
            prune.prune(engine, {plan.base, plan.runtime, *plan.services.values()})
    return dict(plan.services)


def _missing(engine: Engine, plan: ImagePlan, known: Collection[str] = ()) -> list[str]:
    """References that the engine does not have, or has on another image; the runtime first."""
    # Asked one by one, as a listing takes a millisecond for every image that the engine has.
    references = dict.fromkeys([plan.runtime, *plan.services.values()])
    return [
        reference
        for reference in references
        if reference not in known and not ours.is_what_it_says(engine.image(reference), reference)
    ]


def _build_missing(engine: Engine, plan: ImagePlan, report: Report) -> None:
    missing = _missing(engine, plan)
    if plan.runtime in missing:
        _build_runtime(engine, plan, report)
        missing.remove(plan.runtime)
    with ThreadPoolExecutor(max_workers=len(missing) or 1) as pool:
        _all([pool.submit(_build, engine, reference, plan.contexts[reference], report) for reference in missing])


def _all(futures: Sequence[Future[_T]]) -> list[_T]:
    """The results of all, after all have ended; raises the first failure."""
    return [future.result() for future in futures]


def _build_runtime(engine: Engine, plan: ImagePlan, report: Report) -> None:
    """Have the base and the wheels, and build what all daemons share on them."""
    from hailbox.images import wheels  # here, as it loads much that most commands do not need

    lock = resources.directory("images") / LOCK
    architecture = engine.version().architecture

    def fetch(python: str) -> dict[str, bytes]:
        with phase(report, "wheels", Phase.FETCHING):
            return read_tree(wheels.ensure(lock, python, architecture), "lib/")

    with ThreadPoolExecutor(max_workers=2) as pool:
        python = base_image.PYTHON if plan.base_source is None else _base(engine, plan, report)
        fetched = pool.submit(fetch, python)
        if plan.base_source is None:
            # Our own base's Python is known, so both can be had at once.
            _base(engine, plan, report)
        files = fetched.result()
    context = plan.contexts[plan.runtime]
    _build(engine, plan.runtime, Context({**files, **context.files}), report)


def _base(engine: Engine, plan: ImagePlan, report: Report) -> str:
    return base_image.ensure(engine, plan.base_source, report)


def _build(engine: Engine, reference: str, context: Context, report: Report) -> None:
    name, content = ours.parts(reference)
    labels = {**base_image.labels(name), names.CONTENT: content}
    with phase(report, name, Phase.BUILDING):
        for _ in engine.build_image(context.pack(), reference, labels=labels):
            pass
