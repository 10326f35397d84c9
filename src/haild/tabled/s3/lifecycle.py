"""Lifecycle rules of a bucket: the document, and what a rule says of an object. Pure.

S3 user guide, "Managing the lifecycle of objects". Expiration, expiration of old versions and of lone delete markers,
and aborting unfinished uploads are carried out. Transitions are checked, kept and shown, but objects stay where they
are: there is nowhere else to put them.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from haild.tabled.s3.dates import http_date, parse_date
from haild.tabled.s3.errors import S3Error
from haild.wire.numbers import decimal
from haild.wire.s3 import xml as s3xml

SETTING: Final = "lifecycle"
MOST_RULES: Final = 1000
LONGEST_ID: Final = 255
DAY: Final = 86400.0
TRANSITION_CLASSES: Final = frozenset(
    ("STANDARD_IA", "ONEZONE_IA", "INTELLIGENT_TIERING", "GLACIER_IR", "GLACIER", "DEEP_ARCHIVE")
)

_ACTIONS: Final = frozenset(
    (
        *("Expiration", "NoncurrentVersionExpiration", "AbortIncompleteMultipartUpload"),
        *("Transition", "NoncurrentVersionTransition"),
    )
)
_PREDICATES: Final = frozenset(("Prefix", "Tag", "ObjectSizeGreaterThan", "ObjectSizeLessThan"))
_DATE: Final = re.compile(r"\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:\d\d)?)?")

Tags = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Rule:
    """One rule. Ages in days; `date` in seconds since 1970; sizes in bytes, -1 for no limit."""

    name: str = ""
    enabled: bool = True
    prefix: str = ""
    tags: Tags = ()
    larger: int = -1
    smaller: int = -1
    days: int = 0
    date: float | None = None
    lone_markers: bool = False
    old_days: int = 0
    kept_old: int = 0
    upload_days: int = 0

    def fits(self, size: int, tags: Tags) -> bool:
        """Whether the filter beyond the prefix takes an object of `size` bytes with these tags."""
        return (
            set(self.tags) <= set(tags)
            and (self.larger < 0 or size > self.larger)
            and (self.smaller < 0 or size < self.smaller)
        )

    def expires_before(self, now: float, day: float = DAY) -> float | None:
        """Objects stored before this time expire; None if none do now. `day`: its length in seconds."""
        if self.date is not None:
            return now if now >= self.date else None
        return older_than(self.days, now, day) if self.days else None

    def expiry(self, modified: float, day: float = DAY) -> float | None:
        """When an object stored at `modified` expires; None for never."""
        if self.date is not None:
            return self.date
        if not self.days:
            return None
        due = modified + self.days * day
        return due if day != DAY else due + -due % DAY


def older_than(days: int, now: float, day: float = DAY) -> float:
    """What was made before this time is at least so many days old; S3 rounds ages to midnight UTC.

    `day`: the length of a day in seconds. A shorter one, for tests of rules, is not rounded to anything.
    """
    return now - (now % DAY if day == DAY else 0.0) - days * day


def expiration_header(
    rules: Iterable[Rule], key: str, size: int, tags: Tags, modified: float, day: float = DAY
) -> str:
    """The x-amz-expiration of an object: when it expires first, and by which rule; empty if it does not."""
    found: tuple[float, str] | None = None
    for rule in rules:
        if not (rule.enabled and key.startswith(rule.prefix) and rule.fits(size, tags)):
            continue
        due = rule.expiry(modified, day)
        if due is not None and (found is None or due < found[0]):
            found = (due, rule.name)
    return "" if found is None else f'expiry-date="{http_date(found[0])}", rule-id="{found[1]}"'


@lru_cache(maxsize=256)
def from_text(text: str) -> tuple[Rule, ...]:
    """The rules of a document as it is stored. Raises S3Error and MalformedXMLError."""
    return tuple(read(s3xml.parse(text.encode(), "LifecycleConfiguration")))


def to_text(root: s3xml.Element) -> str:
    """The document as it is stored: as it was given, with an ID for every rule. Raises S3Error."""
    read(root)
    return s3xml.document("LifecycleConfiguration", *(_written(rule) for rule in root.all("Rule"))).decode()


def _written(rule: s3xml.Element) -> str:
    name = rule.value("ID") or uuid.uuid4().hex
    others = (_element(child) for child in rule.children if child.name != "ID")
    return f"<Rule>{s3xml.element('ID', name)}{''.join(others)}</Rule>"


def _element(element: s3xml.Element) -> str:
    content = "".join(map(_element, element.children)) if element.children else s3xml.escape(element.text)
    return f"<{element.name}>{content}</{element.name}>"


def read(root: s3xml.Element) -> list[Rule]:
    """The rules of a LifecycleConfiguration. Raises S3Error."""
    elements = list(root.all("Rule"))
    if not 0 < len(elements) <= MOST_RULES or len(elements) != len(root.children):
        raise _malformed()
    rules = [_rule(element) for element in elements]
    names = [rule.name for rule in rules if rule.name]
    if len(set(names)) < len(names):
        raise S3Error("InvalidArgument", "Rule ID must be unique. Found same ID for more than one rule")
    return rules


def _malformed(text: str = "The XML you provided did not validate against our published schema") -> S3Error:
    return S3Error("MalformedXML", text)


def _rule(element: s3xml.Element) -> Rule:
    names = [child.name for child in element.children]
    once = [name for name in names if name not in ("Transition", "NoncurrentVersionTransition")]
    if not set(names) & _ACTIONS or set(names) - _ACTIONS - {"ID", "Status", "Filter", "Prefix"}:
        raise _malformed()
    if len(set(once)) < len(once) or ("Filter" in names) is ("Prefix" in names):
        raise _malformed("A rule has either a Filter or a Prefix, and every other element once.")
    if element.value("Status") not in ("Enabled", "Disabled"):
        raise _malformed("Status must be Enabled or Disabled.")
    name = element.value("ID")
    if len(name) > LONGEST_ID:
        raise S3Error("InvalidArgument", f"ID length should not exceed allowed limit of {LONGEST_ID}")
    fields = _filter(element) | {"name": name, "enabled": element.value("Status") == "Enabled"}
    expiration = element.first("Expiration")
    if expiration is not None:
        fields |= _expiration(expiration)
    old = element.first("NoncurrentVersionExpiration")
    if old is not None:
        fields["old_days"] = _days(old, "NoncurrentDays")
        if old.first("NewerNoncurrentVersions") is not None:
            fields["kept_old"] = _days(old, "NewerNoncurrentVersions")
    uploads = element.first("AbortIncompleteMultipartUpload")
    if uploads is not None:
        fields["upload_days"] = _days(uploads, "DaysAfterInitiation")
    rule = Rule(**fields)  # type: ignore[arg-type]
    _check_transitions(element, rule)
    _check_filter(rule)
    return rule


def _expiration(element: s3xml.Element) -> dict[str, object]:
    names = [child.name for child in element.children]
    if len(names) != 1 or names[0] not in ("Days", "Date", "ExpiredObjectDeleteMarker"):
        raise _malformed("An Expiration has Days, or Date, or ExpiredObjectDeleteMarker.")
    if names[0] == "Days":
        return {"days": _days(element, "Days")}
    if names[0] == "Date":
        return {"date": _date(element)}
    if element.value("ExpiredObjectDeleteMarker").strip() not in ("true", "false"):
        raise _malformed("ExpiredObjectDeleteMarker is true or false.")
    return {"lone_markers": element.value("ExpiredObjectDeleteMarker").strip() == "true"}


def _check_transitions(element: s3xml.Element, rule: Rule) -> None:
    """Raise S3Error for transitions that contradict themselves, each other or the expiration."""
    for name, age in (("Transition", "Days"), ("NoncurrentVersionTransition", "NoncurrentDays")):
        classes = []
        for transition in element.all(name):
            dated = name == "Transition" and transition.first("Date") is not None
            if dated is (transition.first(age) is not None):
                raise _malformed(f"A {name} has one age.")
            classes.append(transition.value("StorageClass").strip())
            if classes[-1] not in TRANSITION_CLASSES:
                raise _malformed(f"'{classes[-1]}' is not a storage class of a {name}.")
            if dated:
                _date(transition)
                mixed = rule.days > 0
            else:
                days = _days(transition, age, least=0)
                mixed = name == "Transition" and rule.date is not None
                end = rule.days if name == "Transition" else rule.old_days
                if 0 < end <= days:
                    raise S3Error(
                        "InvalidArgument",
                        f"'Days' in the Expiration action for filter '(prefix={rule.prefix})' must be greater than "
                        f"'Days' in the {name} action",
                    )
            if mixed:
                raise S3Error(
                    "InvalidRequest",
                    "Found mixed 'Date' and 'Days' based Expiration and Transition actions in lifecycle rule for "
                    f"filter '(prefix={rule.prefix})'",
                )
        if len(set(classes)) < len(classes):
            raise S3Error("InvalidRequest", f"A rule has only one {name} to each storage class.")


def _check_filter(rule: Rule) -> None:
    chosen = "Tags" if rule.tags else "Object Size" if rule.larger >= 0 or rule.smaller >= 0 else ""
    if chosen and rule.upload_days:
        raise S3Error("InvalidRequest", f"AbortIncompleteMultipartUpload cannot be specified with {chosen}.")
    if rule.tags and rule.lone_markers:
        raise S3Error("InvalidRequest", "ExpiredObjectDeleteMarker cannot be specified with Tags.")
    if rule.larger >= 0 and 0 <= rule.smaller <= rule.larger + 1:
        raise S3Error("InvalidRequest", "ObjectSizeLessThan has to be a value greater than ObjectSizeGreaterThan.")
    if len({name for name, _ in rule.tags}) < len(rule.tags):
        raise S3Error("InvalidRequest", "Duplicate Tag Keys are not allowed.")


def _filter(element: s3xml.Element) -> dict[str, object]:
    chosen = element.first("Filter")
    if chosen is None:
        return {"prefix": element.value("Prefix")}
    together = chosen.first("And")
    if len(chosen.children) > 1 or (together is not None and not together.children):
        raise _malformed("A Filter has one predicate; And combines several.")
    chosen = chosen if together is None else together
    if {child.name for child in chosen.children} - _PREDICATES:
        raise _malformed("A Filter has Prefix, Tag, ObjectSizeGreaterThan, ObjectSizeLessThan or And.")
    tags = tuple((tag.value("Key"), tag.value("Value")) for tag in chosen.all("Tag"))
    if not all(0 < len(name) <= 128 and len(value) <= 256 for name, value in tags):
        raise S3Error("InvalidTag", "A tag's key has 1 to 128 characters and its value at most 256.")
    sizes = [
        -1 if chosen.first(name) is None else _days(chosen, name, least=0)
        for name in ("ObjectSizeGreaterThan", "ObjectSizeLessThan")
    ]
    return {"prefix": chosen.value("Prefix"), "tags": tags, "larger": sizes[0], "smaller": sizes[1]}


def _days(element: s3xml.Element, name: str, least: int = 1) -> int:
    """A number that must be there, at least `least`. Raises MalformedXML and InvalidArgument."""
    if element.first(name) is None:
        raise _malformed(f"{element.name} needs {name}.")
    number = decimal(element.value(name).strip(), least, 10**15)
    if number is None:
        kind = "positive integer" if least else "nonnegative integer"
        raise S3Error("InvalidArgument", f"'{name}' for {element.name} action must be a {kind}")
    return number


def _date(element: s3xml.Element) -> float:
    text = element.value("Date").strip()
    moment = parse_date(text) if _DATE.fullmatch(text) else None
    if moment is None:
        raise _malformed("'Date' must be ISO 8601.")
    if moment % DAY:
        raise S3Error("InvalidArgument", "'Date' must be at midnight GMT")
    return moment


def answer_headers() -> Mapping[str, str]:
    """What S3 says of transitions with the document; Terraform waits for it."""
    return {"x-amz-transition-default-minimum-object-size": "all_storage_classes_128K"}
