"""Which providers an object is to be copied to (iwhd.md section 10)."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterable

from haild.iwhd.metadata import records
from haild.iwhd.settings import ProviderSettings
from haild.wire.iwhd.query import Expression, ExpressionError, parse
from haild.wire.iwhd.queryvalue import Context, selects
from haild.wire.iwhd.target import RESERVED_OBJECTS

logger = logging.getLogger(__name__)


def chosen(
    connection: sqlite3.Connection,
    bucket: str,
    key: str,
    targets: Iterable[ProviderSettings],
    override: str | None = None,
) -> list[str]:
    """The names of those `targets` that the policy of the object selects.

    The policy is `override`, else the object's, else that of the bucket; none, or one that cannot be
    parsed, selects nothing. Reserved objects are never copied.
    """
    if key in RESERVED_OBJECTS:
        return []
    policy = _policy(connection, bucket, key, override)
    if policy is None:
        return []
    attribute = records.lookup(connection, bucket, key)

    def linked(*address: str) -> str | None:
        return records.text_of(connection, *address)

    return [target.name for target in targets if selects(policy, Context(attribute, target.attribute, linked))]


def _policy(connection: sqlite3.Connection, bucket: str, key: str, override: str | None) -> Expression | None:
    text = override
    if text is None:
        text = records.text_of(connection, bucket, key, records.POLICY_ATTRIBUTE)
    if text is None:
        text = records.text_of(connection, bucket, records.DEFAULT_OBJECT, records.POLICY_ATTRIBUTE)
    if not text:
        return None
    try:
        return parse(text)
    except ExpressionError as error:
        logger.warning("the policy of %s/%s copies nothing: %s", bucket, key, error)
        return None
