"""XML and JSON of the image warehouse, byte for byte as iwhd.md gives them."""

from __future__ import annotations

import json

import defusedxml.ElementTree
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from haild.wire.iwhd import json as iwhdjson
from haild.wire.iwhd import xml as iwhdxml
from haild.wire.iwhd.listing import Link, Listed, ProviderEntry
from haild.wire.iwhd.target import is_name

LINKS = [Link("bucket_factory", "http://HOST/_new"), Link("bucket", "http://HOST/BUCKET")]
AWKWARD = """a"b<c>&d'e\\é"""


def test_root() -> None:
    assert "".join(iwhdxml.root([*LINKS[:1], Link("provider_list", "http://HOST/_providers"), *LINKS[1:]])) == (
        '<api service="image_warehouse" version="0.96">\n'
        '\t<link rel="bucket_factory" href="http://HOST/_new"/>\n'
        '\t<link rel="provider_list" href="http://HOST/_providers"/>\n'
        '\t<link rel="bucket" href="http://HOST/BUCKET"/>\n'
        "</api>\n"
    )
    assert "".join(iwhdjson.root(LINKS)) == (
        '{\n\t"service": "image_warehouse",\n\t"version": "0.96",\n\t"providers":\n\t[\n'
        '\t\t{\n\t\t\t"rel": "bucket_factory",\n\t\t\t"link": "http://HOST/_new"\n\t\t},\n'
        '\t\t{\n\t\t\t"rel": "bucket",\n\t\t\t"link": "http://HOST/BUCKET"\n\t\t}\n'
        "\t]\n}\n"
    )


def test_providers() -> None:
    entries = [ProviderEntry("primary", "fs"), ProviderEntry("s", "s3", "h", 80, "u", "p")]
    assert "".join(iwhdxml.providers(entries[:1])) == (
        '<providers>\n\t<provider name="primary">\n\t\t<type>fs</type>\n\t\t<host></host>\n\t\t<port>0</port>\n'
        "\t\t<username></username>\n\t\t<password></password>\n\t</provider>\n</providers>\n"
    )
    assert "".join(iwhdjson.providers(entries)) == (
        '[\n\t{\n\t\t"name": "primary",\n\t\t"type": "fs",\n\t\t"host": "",\n\t\t"port": 0,\n\t\t"username": "",\n'
        '\t\t"password": ""\n\t},\n\t{\n\t\t"name": "s",\n\t\t"type": "s3",\n\t\t"host": "h",\n\t\t"port": 80,\n'
        '\t\t"username": "u",\n\t\t"password": "p"\n\t}\n]\n'
    )


def xml_objects(*pages: list[Listed]) -> str:
    body = "".join(iwhdxml.objects(page, first=index == 0) for index, page in enumerate(pages))
    return iwhdxml.objects_begin() + body + iwhdxml.objects_end(empty=not body)


def json_objects(*pages: list[Listed]) -> str:
    body = "".join(iwhdjson.objects(page, first=index == 0) for index, page in enumerate(pages))
    return iwhdjson.objects_begin() + body + iwhdjson.objects_end(empty=not body)


def test_objects() -> None:
    one = [Listed("B", "K")]
    assert xml_objects(one) == (
        "<objects>\n\t<object>\n\t\t<bucket>B</bucket>\n\t\t<key>K</key>\n\t</object>\n</objects>\n"
    )
    assert json_objects(one) == '[\n\t{\n\t\t"bucket": "B",\n\t\t"key": "K"\n\t}\n]\n'
    assert xml_objects() == "<objects>\n</objects>\n"
    assert json_objects() == "[\n]\n"
    assert '\t},\n\t{\n\t\t"bucket": "B"' in json_objects(one, [Listed("B", "L")])
    assert json_objects(one, [Listed("B", "L")]) == json_objects([*one, Listed("B", "L")])


def test_attributes() -> None:
    assert "".join(iwhdxml.attributes("http://HOST", "B", "K", ["color"])) == (
        '<object>\n\t<object_body path="http://HOST/B/K"/>\n\t<object_attr_list path="http://HOST/B/K/_attrs"/>\n'
        '\t<object_attr name="color" path="http://HOST/B/K/color"/>\n</object>\n'
    )
    assert json.loads("".join(iwhdjson.attributes("http://HOST", "B", "K", ["color"]))) == {
        "object_body": "http://HOST/B/K",
        "object_attr_list": "http://HOST/B/K/_attrs",
        "attr_color": "http://HOST/B/K/color",
    }


def test_links_of_the_root_alone() -> None:
    assert json.loads("".join(iwhdjson.root([]))) == {
        "service": "image_warehouse",
        "version": "0.96",
        "providers": [],
    }
    assert json.loads("".join(iwhdjson.providers([]))) == []


NAMES = st.one_of(st.just(AWKWARD), st.text(min_size=1, max_size=20).filter(is_name))


@settings(max_examples=60, deadline=None)
@given(NAMES, NAMES)
def test_everything_is_escaped(bucket: str, key: str) -> None:
    document = defusedxml.ElementTree.fromstring(xml_objects([Listed(bucket, key)]))
    assert (document.findtext("object/bucket"), document.findtext("object/key")) == (bucket, key)
    assert json.loads(json_objects([Listed(bucket, key)])) == [{"bucket": bucket, "key": key}]
    listed = defusedxml.ElementTree.fromstring("".join(iwhdxml.attributes("http://h", bucket, "k", [key])))
    attribute = listed.find("object_attr")
    assert attribute is not None
    assert attribute.get("name") == key
    entry = defusedxml.ElementTree.fromstring("".join(iwhdxml.providers([ProviderEntry(bucket, "fs", password=key)])))
    assert entry.findtext("provider/password") == key


def test_a_terminal_obeys_nothing_in_a_list() -> None:
    name = "a\x9b31m\u202eb\u2066\u200b\ufeff\U000e0041"
    documents = (
        xml_objects([Listed(name, name)]),
        json_objects([Listed(name, name)]),
        "".join(iwhdxml.root([Link("bucket", name)])),
        "".join(iwhdjson.providers([ProviderEntry(name, "fs", password=name)])),
    )
    for document in documents:
        assert document.isascii()
        assert "31m" in document


@pytest.mark.parametrize("text", ["", "a\tb", "\x00", "\x7f", "\ud800", "\uffff"])
def test_not_a_name(text: str) -> None:
    assert not is_name(text)
