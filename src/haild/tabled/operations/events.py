"""Events for a bucket's notifications: from a change to what the queue takes in its transaction."""

from __future__ import annotations

import time
from collections.abc import Sequence

from haild.tabled.metadata.port import Metadata, Notify
from haild.tabled.metadata.records import Bucket, ObjectRecord
from haild.tabled.operations.call import Call
from haild.tabled.s3 import notification
from haild.tabled.s3.errors import S3Error


async def notes(call: Call, event: str, key: str, record: ObjectRecord | None = None) -> Notify | None:
    """What tells of a change of `key`; None where no one wants to know. `record`: the object that was stored.

    Of ObjectRemoved:Delete it makes ObjectRemoved:DeleteMarkerCreated where that is what happens.
    """
    rules = await _rules(call.metadata, call.bucket)
    if not rules:
        return None
    what = notification.Happening(
        call.services.region,
        call.services.clock(),
        call.identity.user or "Anonymous",
        call.remote,
        call.request_id,
        call.bucket.name,
        call.bucket.owner,
        key,
        None if record is None else record.size,
        "" if record is None else record.etag,
    )
    return _telling(rules, event, what, versioned=bool(call.bucket.versioning))


async def of_lifecycle(metadata: Metadata, bucket: Bucket, key: str) -> Notify | None:
    """What tells that a rule of the bucket's lifecycle removed an object or a version of it."""
    rules = await _rules(metadata, bucket)
    if not rules:
        return None
    what = notification.Happening("", time.time(), "s3.amazonaws.com", "", "", bucket.name, bucket.owner, key)
    return _telling(rules, "LifecycleExpiration:Delete", what, versioned=bool(bucket.versioning))


async def _rules(metadata: Metadata, bucket: Bucket) -> list[notification.Rule]:
    """The bucket's rules that have a destination."""
    if notification.SETTING not in bucket.settings:
        return []
    text = await metadata.setting(bucket.name, notification.SETTING)
    return [rule for rule in notification.from_text(text) if rule.target] if text else []


def _telling(
    rules: Sequence[notification.Rule], event: str, what: notification.Happening, *, versioned: bool
) -> Notify:
    def notify(version: str, marker: bool) -> list[tuple[str, str]]:
        name = f"{event.partition(':')[0]}:DeleteMarkerCreated" if marker else event
        sequencer = time.time_ns()
        return [
            (rule.target, notification.message(rule, name, what, version if versioned else "", sequencer))
            for rule in rules
            if rule.wants(name, what.key)
        ]

    return notify


async def accept(call: Call, text: str) -> None:
    """Check a configuration's destinations, and send each a test. Raises InvalidArgument."""
    rules = notification.from_text(text)
    missing = notification.unreachable(rules, call.services.webhooks)
    if missing:
        raise S3Error(
            "InvalidArgument",
            f"Unable to validate the following destination configurations: {', '.join(missing)}: "
            "tabled's configuration has no <Webhook> for it.",
        )
    test = notification.test_message(call.bucket.name, call.request_id, call.now)
    await call.metadata.add_events([(rule.target, test) for rule in rules if rule.target])
    call.services.events_changed()
