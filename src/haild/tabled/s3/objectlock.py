"""Object lock: the bucket's default, retention and legal hold of a version, and what they forbid. Pure.

Source: S3 user guide, "Locking objects with Object Lock"; S3 API reference, PutObjectRetention and others.
A version's lock is a mapping: `mode` and `until` (ISO 8601) together, and `hold` (ON or OFF); each may be missing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

from haild.tabled.s3.errors import S3Error
from haild.wire.s3 import xml as s3xml

SETTING: Final = "object-lock"
GOVERNANCE, COMPLIANCE = "GOVERNANCE", "COMPLIANCE"
MODES: Final = (GOVERNANCE, COMPLIANCE)
PREFIX: Final = "x-amz-object-lock-"
BYPASS: Final = "x-amz-bypass-governance-retention"
LONGEST: Final = {"days": 36_500, "years": 100}
DAY: Final = 86_400.0

Lock = Mapping[str, str]


def parse_until(text: str) -> float | None:
    """Seconds since 1970 of an ISO 8601 time; None for what is none."""
    try:
        moment = datetime.fromisoformat(text.strip())
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None


def _until(lock: Lock) -> float:
    return parse_until(lock.get("until", "")) or 0.0


# the bucket's configuration


def read_configuration(root: s3xml.Element) -> dict[str, str]:
    """The default retention in an ObjectLockConfiguration (empty: none). Raises MalformedXML and others."""
    if root.value("ObjectLockEnabled").strip() != "Enabled":
        raise _malformed("ObjectLockEnabled must be Enabled.")
    rule = root.first("Rule")
    if rule is None:
        return {}
    default = rule.first("DefaultRetention")
    if default is None:
        raise _malformed("A Rule needs a DefaultRetention.")
    mode = default.value("Mode").strip()
    periods = {name: default.value(name.capitalize()).strip() for name in LONGEST if default.first(name.capitalize())}
    if mode not in MODES or len(periods) != 1:
        raise _malformed("A DefaultRetention has a Mode, and either Days or Years.")
    ((unit, text),) = periods.items()
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdecimal() and len(digits) < 12):
        raise _malformed(f"{unit.capitalize()} is not a number.")
    if int(text) <= 0:
        raise S3Error("InvalidRetentionPeriod", "Default retention period must be a positive integer value.")
    if int(text) > LONGEST[unit]:
        raise S3Error("InvalidRetentionPeriod", f"Default retention period is at most {LONGEST[unit]} {unit}.")
    return {"mode": mode, unit: str(int(text))}


def configuration_document(default: Mapping[str, str]) -> bytes:
    """The ObjectLockConfiguration of a bucket with this default retention (empty: none)."""
    parts = ["<ObjectLockEnabled>Enabled</ObjectLockEnabled>"]
    if default:
        fields = [s3xml.element("Mode", default["mode"])]
        fields += [s3xml.element(unit.capitalize(), default[unit]) for unit in LONGEST if unit in default]
        parts.append(f"<Rule><DefaultRetention>{''.join(fields)}</DefaultRetention></Rule>")
    return s3xml.document("ObjectLockConfiguration", *parts)


def load_default(text: str) -> dict[str, str]:
    """The default retention that is kept as JSON in the bucket's setting."""
    loaded: dict[str, str] = json.loads(text)
    return loaded


def with_default(lock: Lock, default: Mapping[str, str], now: float) -> dict[str, str]:
    """A new version's lock: what its request says, else the bucket's default from now on."""
    if "mode" in lock or not default:
        return dict(lock)
    moment = datetime.fromtimestamp(now, UTC)
    if "years" in default:
        years = int(default["years"])
        leap_day = (moment.month, moment.day) == (2, 29)
        until = moment.replace(year=moment.year + years, day=28 if leap_day else moment.day).timestamp()
    else:
        until = now + int(default["days"]) * DAY
    return {**lock, "mode": default["mode"], "until": s3xml.timestamp(until)}


# What requests say.


def from_headers(headers: Mapping[str, str], *, enabled: bool, now: float) -> dict[str, str]:
    """The lock that a request to store something asks for. `enabled`: whether the bucket has object lock.

    Raises InvalidArgument and InvalidRequest.
    """
    mode, until, hold = (headers.get(PREFIX + name) for name in ("mode", "retain-until-date", "legal-hold"))
    if mode is None and until is None and hold is None:
        return {}
    if not enabled:
        raise missing_configuration()
    lock: dict[str, str] = {}
    if (mode is None) is not (until is None):
        raise S3Error(
            "InvalidArgument",
            "x-amz-object-lock-retain-until-date and x-amz-object-lock-mode must both be supplied",
            fields={"ArgumentName": PREFIX + ("mode" if mode is None else "retain-until-date")},
        )
    if mode is not None and until is not None:
        if mode.upper() not in MODES:
            raise _argument("Unknown wormMode directive.", "mode", mode)
        lock = {"mode": mode.upper(), "until": _checked_until(until, now)}
    if hold is not None:
        if hold.upper() not in ("ON", "OFF"):
            raise _argument("Legal Hold must be either of 'ON' or 'OFF'", "legal-hold", hold)
        lock["hold"] = hold.upper()
    return lock


def _checked_until(text: str, now: float) -> str:
    until = parse_until(text)
    if until is None:
        raise _argument("The retain until date must be provided in ISO 8601 format", "retain-until-date", text)
    if until <= now:
        raise _argument("The retain until date must be in the future!", "retain-until-date", text)
    return s3xml.timestamp(until)


def read_retention(root: s3xml.Element, now: float) -> dict[str, str]:
    """The retention in a Retention document; empty to remove it. Raises MalformedXML and InvalidArgument."""
    mode, until = root.value("Mode").strip(), root.value("RetainUntilDate").strip()
    if not mode and not until:
        return {}
    if mode not in MODES or parse_until(until) is None:
        raise _malformed("A Retention has a Mode and a RetainUntilDate.")
    return {"mode": mode, "until": _checked_until(until, now)}


def read_legal_hold(root: s3xml.Element) -> str:
    """ON or OFF, from a LegalHold document. Raises MalformedXML."""
    status = root.value("Status").strip()
    if status not in ("ON", "OFF"):
        raise _malformed("The Status of a LegalHold is ON or OFF.")
    return status


# What is forbidden.


def check_change(lock: Lock, retention: Mapping[str, str], now: float, *, bypass: bool) -> None:
    """Raise AccessDenied where a version's retention may not become this one."""
    if "mode" not in lock or _until(lock) <= now:
        return
    longer = retention.get("mode") == lock["mode"] and _until(retention) >= _until(lock)
    if not longer and not (bypass and lock["mode"] == GOVERNANCE):
        raise _protected()


def check_delete(lock: Lock, now: float, *, bypass: bool) -> None:
    """Raise AccessDenied where a version may not be deleted."""
    if lock.get("hold") == "ON":
        raise _protected()
    if "mode" in lock and _until(lock) > now and not (bypass and lock["mode"] == GOVERNANCE):
        raise _protected()


def _protected() -> S3Error:
    return S3Error("AccessDenied", "Access Denied because object protected by object lock.")


# What answers say.


def answer_headers(lock: Lock) -> dict[str, str]:
    """The headers that tell of a version's lock."""
    names = {"mode": "mode", "until": "retain-until-date", "hold": "legal-hold"}
    return {PREFIX + names[name]: value for name, value in lock.items()}


def retention_document(lock: Lock) -> bytes:
    """The Retention of a version. Raises NoSuchObjectLockConfiguration."""
    if "mode" not in lock:
        raise _no_lock()
    fields = (s3xml.element("Mode", lock["mode"]), s3xml.element("RetainUntilDate", lock["until"]))
    return s3xml.document("Retention", *fields)


def legal_hold_document(lock: Lock) -> bytes:
    """The LegalHold of a version. Raises NoSuchObjectLockConfiguration."""
    if "hold" not in lock:
        raise _no_lock()
    return s3xml.document("LegalHold", s3xml.element("Status", lock["hold"]))


def _no_lock() -> S3Error:
    return S3Error("NoSuchObjectLockConfiguration", "The specified object does not have a ObjectLock configuration")


def missing_configuration() -> S3Error:
    """The bucket has no object lock."""
    return S3Error("InvalidRequest", "Bucket is missing Object Lock Configuration")


def _malformed(text: str) -> S3Error:
    return S3Error("MalformedXML", f"The XML you provided is not what it should be: {text}")


def _argument(text: str, name: str, value: str) -> S3Error:
    return S3Error("InvalidArgument", text, fields={"ArgumentName": PREFIX + name, "ArgumentValue": value})
