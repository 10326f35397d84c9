"""The providers of a running daemon: the primary, the others, and those added and deleted by clients.

Changes end with the process. The daemon's own location name always is that of the first configured provider
(iwhd.md 5.3).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from haild.iwhd.provider import create
from haild.iwhd.provider.base import Provider
from haild.iwhd.settings import ProviderSettings


class ProviderDirectory:
    """All providers by name, in order of definition."""

    def __init__(self, settings: Sequence[ProviderSettings], spool: Path) -> None:
        """Make the providers; the first of them is the primary. Raises ProviderSettingsError."""
        self._spool = spool
        self._providers = {each.name: create(each, spool) for each in settings}
        self.location = settings[0].name
        """The daemon's own name among the locations of a body."""
        self._removed: set[str] = set()
        self.primary = self._providers[settings[0].name]

    def __iter__(self) -> Iterator[Provider]:
        return iter(list(self._providers.values()))

    def get(self, name: str) -> Provider | None:
        """The provider called `name`."""
        return self._providers.get(name)

    def targets(self) -> list[ProviderSettings]:
        """Where copies may go: every provider but the one named like our own location."""
        return [provider.settings for provider in self._providers.values() if provider.name != self.location]

    async def add(self, settings: ProviderSettings) -> None:
        """Add a provider, or replace the one of that name. Raises ProviderSettingsError."""
        old = self._providers.get(settings.name)
        new = create(settings, self._spool)
        self._providers[settings.name] = new
        self._removed.discard(settings.name)
        if old is self.primary:
            self.primary = new
        if old is not None:
            await old.close()

    async def remove(self, name: str) -> bool:
        """Remove a provider; False if there never was one of that name or it is the primary.

        Removing it twice is no error (iwhd.md 5.3).
        """
        provider = self._providers.get(name)
        if provider is None or provider is self.primary:
            return name in self._removed
        del self._providers[name]
        self._removed.add(name)
        await provider.close()
        return True

    async def close(self) -> None:
        """Release the connections of all."""
        for provider in self:
            await provider.close()
