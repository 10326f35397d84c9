"""Tags of buckets and objects: headers, documents, limits (S3 API, Tag; tabled.md 17.1). Pure."""

from __future__ import annotations

import json
from typing import Final
from urllib.parse import parse_qsl

from haild.tabled.s3.errors import S3Error
from haild.wire.s3 import xml as s3xml

SETTING: Final = "tagging"
BUCKET_LIMIT: Final = 50
OBJECT_LIMIT: Final = 10

Tags = tuple[tuple[str, str], ...]


def parse(text: str) -> Tags:
    """The tags of an x-amz-tagging header. Raises InvalidTag."""
    if not text:
        return ()
    try:
        tags = parse_qsl(text, keep_blank_values=True, max_num_fields=100, errors="strict")
    except ValueError:
        raise S3Error("InvalidTag", "The tags are too many, or not UTF-8.") from None
    return check(tags, OBJECT_LIMIT)


def check(tags: list[tuple[str, str]], limit: int) -> Tags:
    """The tags, if they keep S3's limits. Raises InvalidTag."""
    if len(tags) > limit:
        raise S3Error("InvalidTag", f"There can be at most {limit} tags.")
    if len({name for name, _ in tags}) != len(tags):
        raise S3Error("InvalidTag", "Cannot provide multiple Tags with the same key")
    for name, value in tags:
        if not 0 < len(name) <= 128 or len(value) > 256:
            raise S3Error("InvalidTag", "A tag's key has 1 to 128 characters and its value at most 256.")
    return tuple(tags)


def read(root: s3xml.Element, limit: int = OBJECT_LIMIT) -> Tags:
    """The tags in a Tagging document. Raises MalformedXML and InvalidTag."""
    tag_set = root.first("TagSet")
    if tag_set is None:
        raise S3Error("MalformedXML", "A Tagging needs a TagSet.")
    return check([(tag.value("Key"), tag.value("Value")) for tag in tag_set.all("Tag")], limit)


def document(tags: Tags) -> bytes:
    """The tags as a Tagging document."""
    parts = [f"<Tag>{s3xml.element('Key', name)}{s3xml.element('Value', value)}</Tag>" for name, value in tags]
    return s3xml.document("Tagging", "<TagSet>", *parts, "</TagSet>")


def to_text(tags: Tags) -> str:
    """The tags of a bucket as they are stored."""
    return json.dumps(tags)


def from_text(text: str) -> Tags:
    """The tags that `to_text` wrote."""
    return tuple((name, value) for name, value in json.loads(text))
