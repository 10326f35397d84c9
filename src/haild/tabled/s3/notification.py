"""Event notifications: the configuration of a bucket, which events it wants, and how one is told. Pure.

Source: S3 user guide, "Amazon S3 Event Notifications" and "Event message structure" (version 2.1).
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final
from urllib.parse import quote_plus

from haild.tabled.s3.errors import S3Error
from haild.tabled.s3.wildcard import like
from haild.wire.s3 import xml as s3xml

SETTING: Final = "notification"
KINDS: Final = {
    "TopicConfiguration": "Topic",
    "QueueConfiguration": "Queue",
    "CloudFunctionConfiguration": "CloudFunction",
    "LambdaFunctionConfiguration": "LambdaFunctionArn",
}
"""By element, the one in it that names the destination."""
EVENTS: Final = (
    *("ObjectCreated:Put", "ObjectCreated:Post", "ObjectCreated:Copy", "ObjectCreated:CompleteMultipartUpload"),
    *("ObjectRemoved:Delete", "ObjectRemoved:DeleteMarkerCreated", "ObjectTagging:Put", "ObjectTagging:Delete"),
    *("ObjectAcl:Put", "LifecycleExpiration:Delete", "LifecycleExpiration:DeleteMarkerCreated"),
)
"""What happens here. More exists in S3, which is accepted, and never happens."""
_NEVER: Final = (
    *("ReducedRedundancyLostObject", "ObjectRestore:Post", "ObjectRestore:Completed", "ObjectRestore:Delete"),
    *("Replication:OperationFailedReplication", "Replication:OperationMissedThreshold", "LifecycleTransition"),
    *("Replication:OperationReplicatedAfterThreshold", "Replication:OperationNotTracked", "IntelligentTiering"),
)


@dataclass(frozen=True, slots=True)
class Rule:
    """One destination, and the events that it is told of. `kind`: the element in the document."""

    name: str
    kind: str
    target: str
    events: tuple[str, ...]
    prefix: str = ""
    suffix: str = ""

    def wants(self, event: str, key: str) -> bool:
        """Whether it is told of an event (without `s3:`) of a key."""
        named = any(like(pattern.removeprefix("s3:"), event) for pattern in self.events)
        return named and key.startswith(self.prefix) and key.endswith(self.suffix)


def read(root: s3xml.Element) -> list[Rule]:
    """The rules in a NotificationConfiguration. Raises MalformedXML and InvalidArgument."""
    rules = []
    for child in root.children:
        if child.name == "EventBridgeConfiguration":
            rules.append(Rule("", child.name, "", ()))
        elif child.name in KINDS:
            rules.append(_rule(child))
        else:
            raise S3Error("MalformedXML", f"A NotificationConfiguration has no {child.name}.")
    names = [rule.name for rule in rules if rule.name]
    if len(set(names)) != len(names):
        raise S3Error("InvalidArgument", "Same ID used for multiple configurations. IDs must be unique")
    return rules


def _rule(element: s3xml.Element) -> Rule:
    target = element.value(KINDS[element.name]).strip() or element.value("CloudFunction").strip()
    events = tuple(each.text.strip() for each in element.all("Event"))
    if not target or not events:
        raise S3Error("MalformedXML", f"A {element.name} needs {KINDS[element.name]} and Event.")
    known = [f"s3:{event}" for event in (*EVENTS, *_NEVER)]
    for event in events:
        if event not in known and not (event.endswith(":*") and any(like(event, each) for each in known)):
            raise S3Error("InvalidArgument", f"The event '{event}' is not supported for notifications")
    if not target.startswith("arn:"):
        raise S3Error("InvalidArgument", "The ARN could not be parsed")
    filters: dict[str, str] = {}
    chosen = element.first("Filter")
    key = chosen.first("S3Key") if chosen is not None else None
    for rule in key.all("FilterRule") if key is not None else ():
        name = rule.value("Name").strip().lower()
        if name not in ("prefix", "suffix") or name in filters:
            raise S3Error("InvalidArgument", "filter rule name must be either prefix or suffix, each at most once")
        filters[name] = rule.value("Value")
    name = element.value("Id").strip() or secrets.token_hex(16)
    if len(name) > 255:
        raise S3Error("InvalidArgument", "An Id has at most 255 characters.")
    return Rule(name, element.name, target, events, filters.get("prefix", ""), filters.get("suffix", ""))


def to_text(rules: Iterable[Rule]) -> str:
    """The rules as text to keep."""
    return json.dumps([asdict(rule) for rule in rules])


def from_text(text: str) -> list[Rule]:
    """The rules that `to_text` wrote."""
    return [Rule(**{**rule, "events": tuple(rule["events"])}) for rule in json.loads(text)]


def document(rules: Iterable[Rule]) -> bytes:
    """The NotificationConfiguration."""
    return s3xml.document("NotificationConfiguration", *map(_element, rules))


def _element(rule: Rule) -> str:
    if rule.kind not in KINDS:
        return f"<{rule.kind}></{rule.kind}>"
    fields = [s3xml.element("Id", rule.name), s3xml.element(KINDS[rule.kind], rule.target)]
    fields += [s3xml.element("Event", event) for event in rule.events]
    filters = [("prefix", rule.prefix), ("suffix", rule.suffix)]
    told = [
        f"<FilterRule>{s3xml.element('Name', name)}{s3xml.element('Value', value)}</FilterRule>"
        for name, value in filters
        if value
    ]
    if told:
        fields.append(f"<Filter><S3Key>{''.join(told)}</S3Key></Filter>")
    return f"<{rule.kind}>{''.join(fields)}</{rule.kind}>"


@dataclass(frozen=True, slots=True)
class Happening:
    """What an event tells of the request and the object, beside its name. `moment` in seconds since 1970."""

    region: str
    moment: float
    user: str
    address: str
    request: str
    bucket: str
    owner: str
    key: str
    size: int | None = None
    etag: str = ""


def message(rule: Rule, event: str, what: Happening, version: str, sequencer: int) -> str:
    """The event message as JSON. `version`: empty where the bucket has none."""
    stored: dict[str, Any] = {"key": quote_plus(what.key, safe="/")}
    if what.size is not None:
        stored |= {"size": what.size, "eTag": what.etag}
    if version:
        stored["versionId"] = version
    stored["sequencer"] = f"{sequencer:016X}"
    record = {
        "eventVersion": "2.1",
        "eventSource": "aws:s3",
        "awsRegion": what.region,
        "eventTime": s3xml.timestamp(what.moment),
        "eventName": event,
        "userIdentity": {"principalId": what.user},
        "requestParameters": {"sourceIPAddress": what.address},
        "responseElements": {"x-amz-request-id": what.request, "x-amz-id-2": what.request},
        "s3": {
            "s3SchemaVersion": "1.0",
            "configurationId": rule.name,
            "bucket": {
                "name": what.bucket,
                "ownerIdentity": {"principalId": what.owner},
                "arn": f"arn:aws:s3:::{what.bucket}",
            },
            "object": stored,
        },
    }
    return json.dumps({"Records": [record]}, separators=(",", ":"))


def test_message(bucket: str, request: str, moment: float) -> str:
    """What each destination is told when a configuration is set."""
    fields = {
        "Service": "Amazon S3",
        "Event": "s3:TestEvent",
        "Time": s3xml.timestamp(moment),
        "Bucket": bucket,
        "RequestId": request,
        "HostId": request,
    }
    return json.dumps(fields, separators=(",", ":"))


def unreachable(rules: Sequence[Rule], webhooks: Mapping[str, str]) -> list[str]:
    """The destinations for which there is no webhook; one for the empty ARN takes any."""
    return [rule.target for rule in rules if rule.target and rule.target not in webhooks and "" not in webhooks]
