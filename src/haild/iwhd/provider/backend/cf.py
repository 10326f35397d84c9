"""Provider `cf`: CloudFiles, today OpenStack Swift (iwhd.md section 3)."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from haild.client.swift import Scheme, SwiftClient
from haild.iwhd.provider.base import Upload
from haild.iwhd.provider.remote import RemoteProvider
from haild.iwhd.settings import ProviderSettings


class SwiftProvider(RemoteProvider):
    """Bodies are objects of a Swift account, buckets its containers."""

    types = ("cf",)
    # A login that is refused may be accepted later, when the service knows the user.
    busy = RemoteProvider.busy | {401}

    def __init__(self, settings: ProviderSettings, spool: Path) -> None:
        """Raises ProviderSettingsError for a `scheme` that is none; upstream knows https only."""
        super().__init__(settings, spool)
        scheme = cast(Scheme, settings.choice("scheme", "https", "http"))
        self.client = SwiftClient(
            settings.host,
            settings.port,
            user=settings.key,
            key=settings.secret,
            scheme=scheme,
            reaches=settings.reaches,
        )

    async def start_upload(self, bucket: str, key: str, *, length: int | None, etag: str) -> Upload:
        # A body can be sent once only: have the token renewed before, if need be.
        await self.check_bucket(bucket)
        return await super().start_upload(bucket, key, length=length, etag=etag)
