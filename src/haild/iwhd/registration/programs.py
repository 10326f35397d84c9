"""The programs that register images: which one a type of provider has, and its arguments (iwhd.md section 11)."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from haild.iwhd.registration.errors import ParameterError
from haild.iwhd.registration.program import FailurePattern
from haild.iwhd.settings import ProviderSettings

Values = Mapping[str, str]
Arguments = Callable[[ProviderSettings, str, str, Values, Path], list[str]]

DEFAULT_IMAGE: Final = "_default_"
"""Stands for the kernel or ramdisk that the cloud chooses itself."""

NO_CLUSTER: Final = "_none_"


@dataclass(frozen=True, slots=True)
class Invocation:
    """A program. `arguments` makes its arguments and writes files for it into the directory it is given.

    `failure` says in which lines the program reports an error: `token` (ERROR and one word), `line` (ERROR and
    the rest of the line) or `none`.
    """

    program: str
    arguments: Arguments
    failure: FailurePattern
    paths: tuple[str, ...] = ()
    """The fields of a form that name directories of this host."""


def _needed(name: str, *candidates: str | None) -> str:
    """The first of `candidates` that is not empty. Raises ParameterError if all are missing or empty."""
    for value in candidates:
        if value:
            return value
    raise ParameterError(f"parameter {name} is missing")


def _ec2(settings: ProviderSettings, bucket: str, key: str, values: Values, directory: Path) -> list[str]:
    files = []
    for name in ("ami-cert", "ami-key"):
        if values.get(name):
            # The form has the content of the file, the configuration its name.
            path = directory / name
            path.touch(mode=0o600)
            path.write_text(values[name], encoding="utf-8")
            files.append(str(path))
        else:
            # A file that a client's own provider names could be any file of this host.
            files.append(_needed(name, settings.attributes.get(name) if settings.configured else None))
    return [
        bucket,
        key,
        _needed("api-key", values.get("api-key"), settings.key),
        _needed("api-secret", values.get("api-secret"), settings.secret),
        *files,
        _needed("ami-uid", values.get("ami-uid"), settings.attributes.get("ami-uid")),
        values.get("ami-bkt") or bucket,
        values.get("kernel") or DEFAULT_IMAGE,
        values.get("ramdisk") or DEFAULT_IMAGE,
    ]


def _rhev(settings: ProviderSettings, bucket: str, key: str, values: Values, directory: Path) -> list[str]:
    parameters = {
        "image": f"{bucket}/{key}",
        "apiurl": _needed("api-url", values.get("api-url")),
        "apiuser": _needed("api-key", values.get("api-key"), settings.key),
        "apipass": _needed("api-secret", values.get("api-secret"), settings.secret),
        "nfshost": _needed("nfs-host", values.get("nfs-host")),
        "nfspath": _needed("nfs-path", values.get("nfs-path")),
        "nfsdir": _needed("nfs-dir", values.get("nfs-dir")),
        "cluster": values.get("cluster") or NO_CLUSTER,
    }
    file = directory / "rhev.json"
    file.touch(mode=0o600)
    file.write_text(json.dumps(parameters, indent="\t") + "\n", encoding="utf-8")
    return [str(file)]


def _condor(settings: ProviderSettings, bucket: str, key: str, values: Values, _directory: Path) -> list[str]:
    return [
        bucket,
        key,
        _needed("nfs-dir", values.get("nfs-dir"), settings.attributes.get("nfsdir")),
        values.get("kernel") or DEFAULT_IMAGE,
        values.get("ramdisk") or DEFAULT_IMAGE,
    ]


def _vmware(settings: ProviderSettings, bucket: str, key: str, values: Values, _directory: Path) -> list[str]:
    return [
        _needed("api-url", values.get("api-url")),
        _needed("api-key", values.get("api-key"), settings.key),
        _needed("api-secret", values.get("api-secret"), settings.secret),
        values.get("vm-name") or key,
        f"{bucket}/{key}",
        _needed("vm-host", values.get("vm-host")),
        "-",
    ]


INVOCATIONS: Final[Mapping[str, Invocation]] = {
    "s3": Invocation("dc-register-image", _ec2, "token"),
    "fs-rhev-m": Invocation("dc-rhev-image", _rhev, "line"),
    "fs-condor": Invocation("dc-condor-image", _condor, "none", ("nfs-dir",)),
    "fs-vmw": Invocation("dc-vmware-image", _vmware, "none"),
}
"""By type of provider; the other types cannot register."""
