"""`doctor --bundle`: all that a bug report needs in one archive, without secrets."""

from __future__ import annotations

import dataclasses
import functools
import io
import json
import os
import platform
import sys
import tarfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import hailbox
from hailbox.context import Context
from hailbox.doctor.redaction import Redactor
from hailbox.doctor.report import Report
from hailbox.engine.port import Engine
from hailbox.model import names
from hailbox.model.errors import DiskFullError, HailboxError, UsageError
from hailbox.observe import Observed, observe
from hailbox.stack import credentials

_LOG_LINES: Final = 2000
_ENVIRONMENT: Final = ("HAILBOX_STACK", "HAILBOX_BASE", "DOCKER_HOST", "DOCKER_CONTEXT", "XDG_RUNTIME_DIR", "LANG")


def write(context: Context, report: Report, path: Path, configuration: Path) -> list[str]:
    """Write the archive (tar, gzip); returns the names of what is in it. `configuration` is the user's file, if any.

    Parts that cannot be had say why instead. Raises UsageError if `path` exists or cannot be written.
    """
    files = dict(_collect(context, report, configuration))
    try:
        with path.open("xb") as stream, tarfile.open(fileobj=stream, mode="w:gz") as archive:
            os.fchmod(stream.fileno(), 0o600)
            for name, text in sorted(files.items()):
                content = text.encode()
                entry = tarfile.TarInfo(f"hailbox-{context.stack}/{name}")
                entry.size, entry.mtime, entry.mode = len(content), int(time.time()), 0o600
                archive.addfile(entry, io.BytesIO(content))
    except FileExistsError as error:
        raise UsageError(f"{path} exists already", "name another file, or remove that one") from error
    except OSError as error:
        path.unlink(missing_ok=True)
        if error.errno == 28:
            raise DiskFullError(f"there is no space for {path}", "free some, or name a file elsewhere") from error
        raise UsageError(f"{path} cannot be written: {error.strerror}", "name a file that can") from error
    return sorted(files)


def _collect(context: Context, report: Report, configuration: Path) -> Iterator[tuple[str, str]]:
    engine = context.engine
    try:
        observed: Observed | None = observe(engine, context.stack)
        redactor = Redactor(credentials.read(engine, observed) if observed else None)
    except HailboxError:
        observed, redactor = None, Redactor(None)

    def part(name: str, make: Callable[[], Any]) -> tuple[str, str]:
        try:
            made = make()
        except (HailboxError, OSError, ValueError) as error:
            made = f"not to be had: {error}"
        text = made if isinstance(made, str) else json.dumps(_plain(made), indent=1, default=str)
        return name, redactor.text(text)

    yield part("doctor.json", lambda: report)
    yield part("host.json", _host)
    yield part("engine.json", engine.version)
    yield part("compose.json", engine.compose_version)
    yield part("hailbox.yaml", lambda: configuration.read_text() if configuration.is_file() else "none\n")
    yield part("choices.json", lambda: context.config)
    yield part("images.json", lambda: engine.images({names.IMAGE: None}))
    if observed is None:
        return
    seen = observed
    yield part("stack.json", lambda: seen)
    yield part("details.json", lambda: {c.name: engine.container_details(c.id) for c in seen.containers})
    for container in seen.containers:
        yield part(f"logs/{container.name}.log", functools.partial(_log, engine, container.id))


def _host() -> Mapping[str, Any]:
    return {
        "hailbox": hailbox.__version__,
        "python": sys.version,
        "platform": platform.platform(),
        "processors": os.cpu_count(),
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "environment": {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ},
    }


def _log(engine: Engine, container: str) -> str:
    return "".join(line.decode(errors="replace") + "\n" for line in engine.logs(container, tail=_LOG_LINES))


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(entry) for entry in value]
    return value
