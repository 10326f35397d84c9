"""The x-amz-expiration header: when the lifecycle rules of its bucket let an object expire."""

from __future__ import annotations

from collections.abc import Mapping

from haild.tabled.metadata.records import ObjectRecord
from haild.tabled.operations.call import Call
from haild.tabled.s3 import lifecycle


async def header(call: Call, record: ObjectRecord) -> Mapping[str, str]:
    """The header for a current object; nothing where no rule applies."""
    if lifecycle.SETTING not in call.bucket.settings or not record.current:
        return {}
    text = await call.metadata.setting(call.bucket.name, lifecycle.SETTING)
    if text is None:
        return {}
    value = lifecycle.expiration_header(
        lifecycle.from_text(text), record.key, record.size, record.tags, record.modified, call.services.day
    )
    return {"x-amz-expiration": value} if value else {}
