"""The settings of one provider, whoever gives them: the configuration, a client, autostart (iwhd.md section 3)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

RESERVED_KEYS: Final = frozenset({"name", "type", "host", "port", "key", "secret", "path"})


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

    def attribute(self, name: str) -> str | None:
        """The value of `#name` in a policy (iwhd.md 9.3): not the port; None where there is none."""
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
