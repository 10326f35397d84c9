"""Provider `s3`: tabled or any other S3 service, with a client and credentials of its own (iwhd.md section 3)."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from haild.client.s3 import S3Client, Signature
from haild.iwhd.provider.base import Upload
from haild.iwhd.provider.remote import RemoteProvider
from haild.iwhd.provider.spool import SpooledUpload
from haild.iwhd.settings import ProviderSettings


class S3Provider(RemoteProvider):
    """Bodies are objects of an S3 service, which wants to know their length in advance."""

    types = ("s3",)
    exists = frozenset({"BucketAlreadyExists", "BucketAlreadyOwnedByYou"})

    def __init__(self, settings: ProviderSettings, spool: Path) -> None:
        """Raises ProviderSettingsError for an unknown `signature`."""
        super().__init__(settings, spool)
        signature = cast(Signature, settings.choice("signature", "v4", "v2"))
        self.client = S3Client(
            settings.host,
            settings.port,
            key=settings.key,
            secret=settings.secret,
            signature=signature,
            region=settings.attributes.get("region", "us-east-1"),
        )

    async def start_upload(self, bucket: str, key: str, *, length: int | None, etag: str) -> Upload:
        if length is not None:
            return await super().start_upload(bucket, key, length=length, etag=etag)
        return SpooledUpload(self.spool, lambda size: self.start_upload(bucket, key, length=size, etag=etag))
