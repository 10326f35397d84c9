"""What the image warehouse writes, whatever names it is given: `haild.wire.iwhd.xml` and `haild.wire.iwhd.json`."""

import json
from collections.abc import Iterator
from urllib.parse import unquote

from defusedxml import ElementTree

from haild.wire.iwhd import json as iwhdjson
from haild.wire.iwhd import xml as iwhdxml
from haild.wire.iwhd.listing import Link, Listed, ProviderEntry
from haild.wire.iwhd.target import is_name

TOKENS = (b"<", b"&", b'"', b"'", b"]]>", b"\\", "\u2028".encode(), b"\n")
BASE = "http://h:1"


def seeds() -> Iterator[bytes]:
    yield b"bucket\nkey\ncolor\nname"
    yield "<&\"'>\né\\u0022\n]]>\n🙂".encode()


def fuzz(data: bytes) -> None:
    names = [name for name in data.decode("utf-8", "replace").split("\n") if is_name(name)][:6]
    listed = [Listed(names[0], name) for name in names[1:]]
    for form, read in ((iwhdxml, _keys_of_xml), (iwhdjson, _keys_of_json)):
        text = form.objects_begin() + form.objects(listed, first=True) + form.objects_end(empty=not listed)
        assert read(text) == [each.key for each in listed]
    entries = [ProviderEntry(name, "s3", name, 80, name, name) for name in names]
    read_back = ElementTree.fromstring("".join(iwhdxml.providers(entries)))
    assert [each.get("name") for each in read_back] == names
    assert [each["password"] for each in json.loads("".join(iwhdjson.providers(entries)))] == names
    links = [Link("bucket", name) for name in names]
    assert [each.get("href") for each in ElementTree.fromstring("".join(iwhdxml.root(links)))] == names
    assert [each["link"] for each in json.loads("".join(iwhdjson.root(links)))["providers"]] == names
    if len(names) >= 2:
        _attributes(*names)


def _attributes(bucket: str, key: str, *names: str) -> None:
    document = ElementTree.fromstring("".join(iwhdxml.attributes(BASE, bucket, key, names)))
    assert [each.get("name") for each in document.iterfind("object_attr")] == list(names)
    members = json.loads("".join(iwhdjson.attributes(BASE, bucket, key, names)))
    assert {f"attr_{name}" for name in names} | {"object_body", "object_attr_list"} == members.keys()
    if not any("/" in name for name in (bucket, key, *names)):
        last = [unquote(members[f"attr_{name}"].rpartition("/")[2]) for name in names]
        assert last == list(names)


def _keys_of_xml(text: str) -> list[str]:
    return [each.text or "" for each in ElementTree.fromstring(text).iterfind("object/key")]


def _keys_of_json(text: str) -> list[str]:
    return [each["key"] for each in json.loads(text)]
