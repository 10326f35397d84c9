"""The user's `hailbox.yaml`: found upwards from the current directory, read, and checked before anything happens."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn

from hailbox.model.config import Build, Config, Override
from hailbox.model.errors import ConfigurationError

if TYPE_CHECKING:
    from hailbox.model.document import Document

FILE: Final = "hailbox.yaml"
OVERRIDE: Final = "hailbox.override.yaml"
"""Beside FILE: what is not committed. Its keys win."""
MISSPELT: Final = ("hailbox.yml", "hailbox.override.yml")
LARGEST: Final = 1 << 20
"""Bytes that a configuration file may have."""


SEEDED: Final = ("tabled", "iwhd")
"""The services that a seed may have objects for."""


@dataclass(frozen=True)
class Loaded:
    """What was found. Directories in `config` are absolute, and `config` of a service is the text of its file."""

    config: Config
    document: Document | None = None
    """Where each value stands; None where there is no file."""


def load(directory: Path, file: Path | None = None) -> Loaded:
    """The choices of `file`, or of the nearest `hailbox.yaml` at or above `directory` and its override.

    Raises ConfigurationError with file, line and column.
    """
    found = [file] if file is not None else find(directory)
    if not found:
        return Loaded(Config())
    # Most commands find no file; they do not load the reader.
    from hailbox.model import document as documents
    from hailbox.model.config import from_document

    document = documents.parse(str(found[0]), _content(found[0]))
    for upper in found[1:]:
        document = documents.over(documents.parse(str(upper), _content(upper)), document)
    config = from_document(document)
    services = {name: _resolved(document, name, override) for name, override in config.services.items()}
    if config.without and (place := document.place(("without",))):
        config = replace(config, without=documents.Listed(config.without, place))
    return Loaded(replace(config, services=services, seed=_seed(document, config.seed)), document)


def find(directory: Path) -> list[Path]:
    """The nearest `hailbox.yaml` at or above `directory`, and its override where there is one; else nothing.

    Raises ConfigurationError for a misspelt name, and for a file above `directory` that another user has put there.
    """
    for folder in (directory, *directory.parents):
        for name in MISSPELT:
            if os.path.lexists(folder / name):
                right = name.removesuffix(".yml") + ".yaml"
                _refuse(folder / name, "is not read", f"rename it to {right}")
        path, upper = folder / FILE, folder / OVERRIDE
        if not os.path.lexists(path):
            if os.path.lexists(upper):
                _refuse(upper, f"has no {FILE} beside it", f"make a {FILE} there, `hailbox init` writes one")
            continue
        if folder != directory:
            _refuse_foreign(path, directory)
        if not os.path.lexists(upper):
            return [path]
        if os.path.exists(upper) and os.path.exists(path) and os.path.samefile(path, upper):
            _refuse(upper, f"is the same file as {FILE}", "remove the link, or write a file of its own")
        return [path, upper]
    return []


def _refuse(path: Path, problem: str, remedy: str) -> NoReturn:
    raise ConfigurationError(f"{path} {problem}", remedy)


def _refuse_foreign(path: Path, directory: Path) -> None:
    """Anyone may put a file into /tmp, and a `hailbox.yaml` says which programs run."""
    try:
        owner = path.lstat().st_uid
        trusted = {0, os.geteuid(), directory.stat().st_uid}
    except OSError:
        return
    if owner not in trusted:
        _refuse(path, "belongs to another user", f"if you trust it, name it: -f {path}")


def _content(path: Path) -> bytes:
    """The bytes of a regular file. Raises ConfigurationError."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            what = "a directory" if path.is_dir() else "not a file"
            _refuse(path, f"is {what}", "put a file there, or go without it")
        with path.open("rb") as stream:
            content = stream.read(LARGEST + 1)
    except OSError as error:
        dangling = isinstance(error, FileNotFoundError) and path.is_symlink()
        reason = f"is a link to {os.readlink(path)}, which is not there" if dangling else None
        _refuse(path, reason or f"cannot be read: {error.strerror}", "see that it is there and readable")
    if len(content) > LARGEST:
        _refuse(path, f"is larger than {LARGEST >> 20} MiB", "see that it is the right file")
    return content


def _resolved(document: Document, name: str, override: Override) -> Override:
    """These choices with absolute directories and the text of the configuration file."""

    def absolute(word: str, value: str) -> Path:
        place = document.place(("services", name, word))
        return Path(place.file if place else ".").absolute().parent / Path(value).expanduser()

    def refuse(word: str, problem: str, remedy: str) -> NoReturn:
        document.refuse(("services", name, word), problem, remedy)

    changes: dict[str, object] = {}
    if override.config is not None:
        path = absolute("config", override.config)
        try:
            changes["config"] = _content(path).decode()
        except (ConfigurationError, UnicodeDecodeError) as error:
            problem = error.problem if isinstance(error, ConfigurationError) else f"{path} is not UTF-8"
            refuse("config", f"services.{name}.config: {problem}", "name a file that can be read")
    if override.source is not None:
        path = absolute("source", override.source)
        if not (path / "src" / "haild" / "__init__.py").is_file():
            refuse("source", f"{path} has no src/haild", "name the top directory of a checkout of hailbox")
        changes["source"] = str(path.resolve())
    if override.build is not None:
        build = override.build if isinstance(override.build, Build) else Build(context=override.build)
        path = absolute("build", build.context)
        dockerfile = path / (build.dockerfile or "Dockerfile")
        if not dockerfile.is_file():
            refuse("build", f"there is no {dockerfile}", "name a directory with a Dockerfile")
        changes["build"] = replace(build, context=str(path.resolve()))
    return replace(override, **changes)  # type: ignore[arg-type]


def _seed(document: Document, seed: str | None) -> str | None:
    """The absolute path of the seed. Raises ConfigurationError where it can be none."""
    if seed is None:
        return None
    place = document.place(("seed",))
    path = (Path(place.file if place else ".").absolute().parent / Path(seed).expanduser()).resolve()
    if path.is_dir():
        folders = sorted(entry.name for entry in path.iterdir() if entry.is_dir())
        if unknown := [name for name in folders if name not in SEEDED]:
            allowed = f"its folders may be: {', '.join(SEEDED)}"
            document.refuse(("seed",), f"{path} has the folder {unknown[0]!r}", allowed)
        if not folders:
            document.refuse(("seed",), f"{path} has no folder", "make one in it: tabled/BUCKET or iwhd/BUCKET")
    elif not os.access(path, os.X_OK) or not path.is_file():
        why = "is no program: it may not be executed" if path.exists() else "is not there"
        document.refuse(("seed",), f"{path} {why}", "name a directory, or a program that may be executed (chmod +x)")
    return str(path)


def origins(loaded: Loaded, given: Mapping[str, str]) -> dict[str, str]:
    """By key of `hailbox.yaml`: where its value comes from; `given` are those from elsewhere."""
    found = {}
    for key in vars(loaded.config):
        place = loaded.document.place((key,)) if loaded.document else None
        found[key] = given.get(key) or (str(place) if place else "default")
    return found
