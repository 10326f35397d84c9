"""Event notifications without a server: configurations, and which events they want."""

import json

import pytest

from haild.tabled.s3 import notification
from haild.tabled.s3.errors import S3Error
from haild.wire.s3 import xml as s3xml

ARN = "arn:aws:sqs:us-east-1:000000000000:queue"


def parse(*parts: str) -> list[notification.Rule]:
    text = f"<NotificationConfiguration>{''.join(parts)}</NotificationConfiguration>"
    return notification.read(s3xml.parse(text.encode(), "NotificationConfiguration"))


def queue(*events: str, more: str = "", arn: str = ARN) -> str:
    named = "".join(f"<Event>{event}</Event>" for event in events)
    return f"<QueueConfiguration><Queue>{arn}</Queue>{named}{more}</QueueConfiguration>"


def key_filter(**rules: str) -> str:
    told = "".join(f"<FilterRule><Name>{n}</Name><Value>{v}</Value></FilterRule>" for n, v in rules.items())
    return f"<Filter><S3Key>{told}</S3Key></Filter>"


def test_a_configuration_comes_back() -> None:
    more = f"<Id>one</Id>{key_filter(prefix='a/', suffix='.jpg')}"
    topic = "<TopicConfiguration><Topic>arn:aws:sns:::t</Topic><Event>s3:ObjectRemoved:*</Event></TopicConfiguration>"
    rules = parse(queue("s3:ObjectCreated:*", more=more), topic, "<EventBridgeConfiguration/>")
    assert notification.from_text(notification.to_text(rules)) == rules
    again = s3xml.parse(notification.document(rules), "NotificationConfiguration")
    assert notification.read(again) == rules
    assert rules[1].name


@pytest.mark.parametrize(
    ("parts", "code"),
    [
        (["<Unknown/>"], "MalformedXML"),
        ([queue()], "MalformedXML"),
        ([queue("s3:ObjectCreated:*", arn="")], "MalformedXML"),
        ([queue("s3:ObjectCreated:*", arn="queue")], "InvalidArgument"),
        ([queue("s3:ObjectEaten")], "InvalidArgument"),
        ([queue("ObjectCreated:*")], "InvalidArgument"),
        ([queue("s3:ObjectCreated:*", more=key_filter(infix="a"))], "InvalidArgument"),
        ([queue("s3:ObjectCreated:*", more="<Id>x</Id>")] * 2, "InvalidArgument"),
    ],
)
def test_configurations_that_are_none(parts: list[str], code: str) -> None:
    with pytest.raises(S3Error) as caught:
        parse(*parts)
    assert caught.value.code == code


def test_which_events_are_wanted() -> None:
    (rule,) = parse(queue("s3:ObjectCreated:*", "s3:ObjectRemoved:Delete", more=key_filter(prefix="a/", suffix=".x")))
    for event, key, wanted in (
        ("ObjectCreated:Put", "a/b.x", True),
        ("ObjectCreated:Copy", "a/.x", True),
        ("ObjectRemoved:Delete", "a/b.x", True),
        ("ObjectRemoved:DeleteMarkerCreated", "a/b.x", False),
        ("ObjectCreated:Put", "b/b.x", False),
        ("ObjectCreated:Put", "a/b.y", False),
    ):
        assert rule.wants(event, key) is wanted


def test_the_message() -> None:
    (rule,) = parse(queue("s3:ObjectCreated:*", more="<Id>mine</Id>"))
    what = notification.Happening("eu-1", 0.0, "alice", "127.0.0.1", "AB", "b", "bob", "a b/ü", 3, "tag")
    (record,) = json.loads(notification.message(rule, "ObjectCreated:Put", what, "v1", 255))["Records"]
    assert record["eventTime"] == "1970-01-01T00:00:00.000Z"
    assert record["s3"]["configurationId"] == "mine"
    assert record["s3"]["object"] == {
        "key": "a+b/%C3%BC",
        "size": 3,
        "eTag": "tag",
        "versionId": "v1",
        "sequencer": "00000000000000FF",
    }


def test_destinations_need_a_webhook() -> None:
    rules = parse(queue("s3:ObjectCreated:*"), "<EventBridgeConfiguration/>")
    assert notification.unreachable(rules, {}) == [ARN]
    assert notification.unreachable(rules, {ARN: "http://x"}) == []
    assert notification.unreachable(rules, {"": "http://x"}) == []
