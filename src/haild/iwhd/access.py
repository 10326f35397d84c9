"""Who may use a warehouse, and what its clients may make it reach (our addition to iwhd.md section 3).

The keys are in the object `access` of the configuration, in the file `access.json` beside it, or in both:

    hosts       names of this server in Host, beside loopback, its host name and its address; `*` is every name
    providers   addresses that providers added by clients may reach: HOST, HOST:PORT, NETWORK/BITS or `*`;
                in a HOST, `*` is any part of a label (`iwhd-*`), and in the beginning any labels (`*.example.org`)
    paths       directories in which providers added by clients may lie
    token       clients must send it: `Authorization: Bearer TOKEN`
    user, password    clients must send them: `Authorization: Basic ...` (RFC 7617)

The addresses and directories of the configured providers are always allowed.
"""

from __future__ import annotations

import hmac
import ipaddress
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from haild.http.origin import ANY, split_host
from haild.iwhd.settings import OWN_DIRECTORY, ProviderSettings, ProviderSettingsError
from haild.wire.iwhd.login import authorization

FILE_NAME: Final = "access.json"


_LISTS: Final = frozenset({"hosts", "providers", "paths"})
_TEXTS: Final = frozenset({"token", "user", "password"})


class AccessError(ProviderSettingsError):
    """The access section of a configuration cannot be used; the text says why."""


class NotAllowedError(ProviderSettingsError):
    """A client asked for a provider that the configuration does not allow; the text says what would."""


@dataclass(frozen=True, slots=True)
class Access:
    """The rules of one daemon; without any, no client has to log in and no added provider reaches a new place."""

    hosts: frozenset[str] = frozenset()
    providers: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    token: str = field(default="", repr=False)
    user: str = ""
    password: str = field(default="", repr=False)

    @property
    def is_limited(self) -> bool:
        """Whether clients have to log in."""
        return bool(self.token or self.user)

    def authorization(self) -> str | None:
        """The Authorization header that opens this warehouse; None if none is needed."""
        return self._accepted()[0] if self.is_limited else None

    def _accepted(self) -> list[str]:
        accepted = [authorization("", self.token)] if self.token else []
        return accepted + ([authorization(self.user, self.password)] if self.user else [])

    def admits(self, header: str | None) -> bool:
        """Whether a request with this Authorization header may be answered. Takes the same time for any wrong one."""
        if not self.is_limited:
            return True
        scheme, _, value = (header or "").partition(" ")
        given = f"{scheme.capitalize()} {value.strip()}".encode("utf-8", "surrogateescape")
        matches = [hmac.compare_digest(given, each.encode()) for each in self._accepted()]
        return any(matches)

    def joined(self, other: Access) -> Access:
        """These rules and `other` ones: all that either opens; the login of these if they have one."""
        login = self if self.is_limited else other
        return Access(
            hosts=self.hosts | other.hosts,
            providers=(*self.providers, *other.providers),
            paths=(*self.paths, *other.paths),
            token=login.token,
            user=login.user,
            password=login.password,
        )

    def with_configured(self, providers: Sequence[ProviderSettings], master: tuple[str, int] | None) -> Access:
        """These rules, with the places that the configuration itself uses allowed."""
        addresses = [_written(each.host, each.port) for each in providers if each.host]
        addresses += [_written(*master)] if master is not None else []
        paths = [os.path.abspath(each.path) for each in providers if each.path]
        return replace(self, providers=(*self.providers, *addresses), paths=(*self.paths, *paths))

    def reaches(self, host: str, port: int) -> bool:
        """Whether a provider added by a client may connect to `host` at `port`."""
        split = split_host(f"[{host}]" if ":" in host else host)
        if split is None or split[1] is not None:
            return False
        return any(_matches(each.lower(), split[0], port) for each in self.providers)

    def check_added(self, settings: ProviderSettings, metadata: Path) -> ProviderSettings:
        """The settings of a provider that a client adds, bound to these rules. Raises NotAllowedError.

        metadata: the directory of the daemon's own files, in which no provider may lie.
        """
        if settings.host and not self.reaches(settings.host, settings.port):
            address = _written(settings.host, settings.port)
            raise NotAllowedError(f"providers may not reach {address}; the list access.providers can allow it")
        if settings.path:
            self.check_path(settings.path, metadata)
        return replace(settings, reaches=self.reaches, configured=False)

    def check_path(self, text: str, metadata: Path) -> None:
        """Raises NotAllowedError unless `text` is an absolute path, free of links, in one of our directories.

        metadata: the directory of the daemon's own files, which is never allowed.
        """
        roots = [root for root in self.paths if _is_below(text, root)]
        if not roots:
            raise NotAllowedError(
                f"path {text!r} is in no directory that clients may use, or reaches it through a link or '..'; "
                "the list access.paths can allow one"
            )
        if _is_within(os.path.realpath(text), os.path.realpath(metadata)) or OWN_DIRECTORY in text.split("/"):
            raise NotAllowedError(f"path {text!r} holds the warehouse's own files")


def parse(section: object, where: str) -> Access:
    """The rules in an access section. Raises AccessError, whose text begins with `where`."""
    if not isinstance(section, Mapping):
        raise AccessError(f"{where} must be a JSON object")
    for name, value in section.items():
        if name in _LISTS:
            if not isinstance(value, list) or not all(isinstance(each, str) and each for each in value):
                raise AccessError(f"{where}: {name!r} must be an array of strings")
        elif name in _TEXTS:
            if not isinstance(value, str) or not value or not value.isascii() or not value.isprintable():
                raise AccessError(f"{where}: {name!r} must be a string of printable ASCII characters")
        else:
            raise AccessError(f"{where}: unknown key {name!r}; known are {', '.join(sorted(_LISTS | _TEXTS))}")
    if ("user" in section) != ("password" in section):
        raise AccessError(f"{where}: 'user' and 'password' go together")
    if ":" in section.get("user", ""):
        raise AccessError(f"{where}: 'user' must not contain a colon (RFC 7617)")
    for path in section.get("paths", ()):
        if not os.path.isabs(path):
            raise AccessError(f"{where}: {path!r} in 'paths' is not an absolute path")
    return Access(
        hosts=frozenset(each.lower() for each in section.get("hosts", ())),
        providers=tuple(section.get("providers", ())),
        paths=tuple(os.path.normpath(each) for each in section.get("paths", ())),
        token=section.get("token", ""),
        user=section.get("user", ""),
        password=section.get("password", ""),
    )


def _written(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _matches(entry: str, name: str, port: int) -> bool:
    """Whether an entry of the list `providers`, in lower case, allows `name` at `port`."""
    if entry == ANY:
        return True
    if "/" in entry:
        try:
            return ipaddress.ip_address(name) in ipaddress.ip_network(entry, strict=False)
        except ValueError:
            return False
    split = split_host(f"[{entry}]" if entry.count(":") > 1 and not entry.startswith("[") else entry)
    if split is None or split[1] not in (None, port):
        return False
    if split[0].startswith("*."):
        return name.endswith(split[0][1:])
    pattern = "[^.:]*".join(re.escape(part) for part in split[0].split("*"))
    return re.fullmatch(pattern, name) is not None


def _is_below(text: str, root: str) -> bool:
    """Whether `text` is `root` or a path in it, written without `..` and leading through no link."""
    if not os.path.isabs(text) or ".." in text.split("/") or "\0" in text:
        return False
    path, top = os.path.normpath(text), os.path.normpath(root)
    if not _is_within(path, top):
        return False
    return os.path.realpath(path) == os.path.normpath(os.path.join(os.path.realpath(top), os.path.relpath(path, top)))


def _is_within(path: str, directory: str) -> bool:
    return path == directory or path.startswith(directory.rstrip("/") + "/")
