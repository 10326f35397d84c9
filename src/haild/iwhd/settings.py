"""The settings of one provider, given by the configuration, a client, or autostart (iwhd.md section 3)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

OWN_DIRECTORY: Final = ".iwhd"
"""The directory in that of a provider `fs` for the daemon's own files, such as uploads that are not whole."""

RESERVED_KEYS: Final = frozenset({"name", "type", "host", "port", "key", "secret", "path"})


def _anywhere(_host: str, _port: int) -> bool:
    return True


class ProviderSettingsError(Exception):
    """The settings of a provider cannot be used; the text says why."""


@dataclass(frozen=True, slots=True)
class ProviderSettings:
    """One provider. `attributes` are the keys of its own, such as `nfsdir`; policies see them as `#name`."""

    name: str
    type: str
    host: str = ""
    port: int = 0
    key: str = field(default="", repr=False)
    secret: str = field(default="", repr=False)
    path: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict)
    configured: bool = False
    """Whether the configuration names it; a client's own provider otherwise. Clients never see its credentials."""
    reaches: Callable[[str, int], bool] = field(default=_anywhere, repr=False, compare=False)
    """Whether it may connect to a host and port to which its service refers it."""

    def attribute(self, name: str) -> str | None:
        """The value of `#name` in a policy (iwhd.md 9.3): not the port; None where there is none.

        A secret of the configuration is empty: a client could find it out by comparisons.
        """
        if name == "secret" and self.configured:
            return ""
        if name in RESERVED_KEYS:
            return None if name == "port" else str(getattr(self, name))
        return self.attributes.get(name)

    def choice(self, name: str, *values: str) -> str:
        """The attribute `name`, which is one of `values`; the first of them if it is not set.

        Raises ProviderSettingsError for any other value.
        """
        value = self.attributes.get(name, values[0])
        if value not in values:
            raise ProviderSettingsError(f"provider {self.name}: {name} {value!r} is neither {' nor '.join(values)}")
        return value
