"""Which providers an object is to be copied to (iwhd.md section 10)."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from haild.iwhd.metadata import records
from haild.iwhd.metadata.evaluation import POLICY_SECONDS, BudgetError, Meter, Values
from haild.iwhd.metadata.port import Connection
from haild.iwhd.metadata.records import DamagedAttributeError
from haild.iwhd.settings import ProviderSettings
from haild.wire.iwhd.query import Expression, ExpressionError, parse
from haild.wire.iwhd.queryvalue import Context, selects
from haild.wire.iwhd.target import RESERVED_OBJECTS

logger = logging.getLogger(__name__)


def chosen(
    connection: Connection,
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
    try:
        policy = _policy(connection, bucket, key, override)
        if policy is None:
            return []
        values = Values(connection, Meter(POLICY_SECONDS))
        return [
            target.name
            for target in targets
            if selects(policy, Context(values.of(bucket, key), target.attribute, values.linked))
        ]
    except (BudgetError, DamagedAttributeError) as error:
        logger.warning("the policy of %s/%s copies nothing: %s", bucket, key, error)
        return []


def _policy(connection: Connection, bucket: str, key: str, override: str | None) -> Expression | None:
    raw = override
    for owner in (key, records.DEFAULT_OBJECT):
        if raw is None:
            value = records.attribute(connection, bucket, owner, records.POLICY_ATTRIBUTE)
            raw = None if value is None else value.decode("utf-8", "surrogateescape")
    if not raw:
        return None
    try:
        return parse(raw)
    except ExpressionError as error:
        logger.warning("the policy of %s/%s copies nothing: %s", bucket, key, error)
        return None
