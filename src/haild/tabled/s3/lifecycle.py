"""Lifecycle rules of a bucket: the document, and what a rule says of an object. Pure.

S3 user guide, "Managing the lifecycle of objects". Expiration, expiration of old versions and of lone delete markers,
and aborting unfinished uploads are there; transitions to other storage classes are refused.
"""

from __future__ import annotations

from dataclasses import dataclass

from haild.tabled.s3.dates import parse_date
from haild.tabled.s3.errors import S3Error
from haild.wire.numbers import decimal
from haild.wire.s3 import xml as s3xml

SETTING = "lifecycle"
MOST_RULES = 1000
DOCUMENT_LIMIT = 512 << 10
DAY = 86400.0


@dataclass(frozen=True)
class Rule:
    """One enabled rule. Ages in days; `date` in seconds since 1970."""

    prefix: str = ""
    tags: tuple[tuple[str, str], ...] = ()
    larger: int = -1
    smaller: int = -1
    days: int = 0
    date: float | None = None
    lone_markers: bool = False
    old_days: int = 0
    kept_old: int = 0
    upload_days: int = 0

    def fits(self, size: int, tags: tuple[tuple[str, str], ...]) -> bool:
        """Whether the filter beyond the prefix takes an object of `size` bytes with these tags."""
        return (
            set(self.tags) <= set(tags)
            and (self.larger < 0 or size > self.larger)
            and (self.smaller < 0 or size < self.smaller)
        )

    def expires_before(self, now: float) -> float | None:
        """Objects stored before this time expire; None if none do now."""
        if self.date is not None:
            return now if now >= self.date else None
        return older_than(self.days, now) if self.days else None


def older_than(days: int, now: float) -> float:
    """What was made before this time is at least so many days old; S3 rounds ages to midnight UTC."""
    return now - now % DAY - days * DAY


def read(root: s3xml.Element) -> list[Rule]:
    """The enabled rules of a LifecycleConfiguration. Raises S3Error."""
    elements = list(root.all("Rule"))
    if not 0 < len(elements) <= MOST_RULES:
        raise _malformed()
    rules = [_rule(element) for element in elements]
    return [rule for rule, element in zip(rules, elements, strict=True) if element.value("Status") == "Enabled"]


def _malformed(text: str = "The lifecycle configuration is not one that S3 takes.") -> S3Error:
    return S3Error("MalformedXML", text)


_ACTIONS = frozenset(("Expiration", "NoncurrentVersionExpiration", "AbortIncompleteMultipartUpload"))


def _rule(element: s3xml.Element) -> Rule:
    names = {child.name for child in element.children}
    if names & {"Transition", "NoncurrentVersionTransition"}:
        raise S3Error("NotImplemented", "There is one storage class: transitions are not implemented.")
    if not names & _ACTIONS or names - _ACTIONS - {"ID", "Status", "Filter", "Prefix"}:
        raise _malformed()
    if element.value("Status") not in ("Enabled", "Disabled"):
        raise _malformed("Status must be Enabled or Disabled.")
    fields = _filter(element)
    expiration = element.first("Expiration")
    if expiration is not None:
        fields["days"] = _days(expiration, "Days")
        fields["date"] = _date(expiration)
        fields["lone_markers"] = expiration.value("ExpiredObjectDeleteMarker").strip() == "true"
    old = element.first("NoncurrentVersionExpiration")
    if old is not None:
        fields["old_days"] = _days(old, "NoncurrentDays")
        fields["kept_old"] = _days(old, "NewerNoncurrentVersions")
    uploads = element.first("AbortIncompleteMultipartUpload")
    if uploads is not None:
        fields["upload_days"] = _days(uploads, "DaysAfterInitiation")
    return Rule(**fields)  # type: ignore[arg-type]


def _filter(element: s3xml.Element) -> dict[str, object]:
    chosen = element.first("Filter")
    if chosen is not None and chosen.first("And") is not None:
        chosen = chosen.first("And")
    if chosen is None:
        return {"prefix": element.value("Prefix")}
    tags = tuple((tag.value("Key"), tag.value("Value")) for tag in chosen.all("Tag"))
    sizes = [_days(chosen, name, -1) for name in ("ObjectSizeGreaterThan", "ObjectSizeLessThan")]
    return {"prefix": chosen.value("Prefix"), "tags": tags, "larger": sizes[0], "smaller": sizes[1]}


def _days(element: s3xml.Element, name: str, default: int = 0) -> int:
    text = element.value(name).strip()
    if not text:
        return default
    number = decimal(text, 0 if default else 1, 10**15)
    if number is None:
        raise S3Error("InvalidArgument", f"'{name}' must be a positive number.")
    return number


def _date(element: s3xml.Element) -> float | None:
    text = element.value("Date").strip()
    if not text:
        return None
    moment = parse_date(text)
    if moment is None or moment % DAY:
        raise S3Error("InvalidArgument", "'Date' must be at midnight GMT")
    return moment
