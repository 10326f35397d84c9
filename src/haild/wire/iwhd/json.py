"""JSON shapes of the image warehouse (iwhd.md 5.1, 5.3, 6.2, 7.6), byte for byte, but escaped and well-formed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

from haild.wire.iwhd.listing import HARMFUL, Link, Listed, ProviderEntry
from haild.wire.iwhd.target import VERSION, path_of


def _string(text: str) -> str:
    quoted = json.dumps(text, ensure_ascii=False)
    return HARMFUL.sub(lambda match: json.dumps(match[0])[1:-1], quoted)


def _element(members: Iterable[tuple[str, str]], indent: str) -> str:
    """One object of an array, without what separates it from the next; values are JSON already."""
    body = ",\n".join(f"{indent}\t{_string(name)}: {value}" for name, value in members)
    return f"{indent}{{\n{body}\n{indent}}}"


def root(links: Iterable[Link]) -> Iterator[str]:
    """The document of the root. The array of links is called `providers`, as upstream has it."""
    yield f'{{\n\t"service": "image_warehouse",\n\t"version": {_string(VERSION)},\n\t"providers":\n\t[\n'
    separator = ""
    for link in links:
        members = (("rel", _string(link.relation)), ("link", _string(link.address)))
        yield separator + _element(members, "\t\t")
        separator = ",\n"
    yield "\n\t]\n}\n" if separator else "\t]\n}\n"


def providers(entries: Iterable[ProviderEntry]) -> Iterator[str]:
    """The list of providers."""
    yield "[\n"
    separator = ""
    for entry in entries:
        members = (
            ("name", _string(entry.name)),
            ("type", _string(entry.type)),
            ("host", _string(entry.host)),
            ("port", str(entry.port)),
            ("username", _string(entry.username)),
            ("password", _string(entry.password)),
        )
        yield separator + _element(members, "\t")
        separator = ",\n"
    yield "\n]\n" if separator else "]\n"


def objects_begin() -> str:
    """What precedes the first object of a list."""
    return "[\n"


def objects(listed: Iterable[Listed], *, first: bool) -> str:
    """Some objects of a list; `first` says that none of the list was written before."""
    elements = [_element((("bucket", _string(each.bucket)), ("key", _string(each.key))), "\t") for each in listed]
    text = ",\n".join(elements)
    return text if first or not elements else ",\n" + text


def objects_end(*, empty: bool) -> str:
    """What follows the last object of a list."""
    return "]\n" if empty else "\n]\n"


def attributes(base: str, bucket: str, key: str, names: Iterable[str]) -> Iterator[str]:
    """The attribute list of an object; `base` is the address of the root without its slash.

    Upstream's member names, with the missing comma and with addresses that work.
    """
    members = [
        ("object_body", _string(base + path_of(bucket, key))),
        ("object_attr_list", _string(base + path_of(bucket, key, "_attrs"))),
    ]
    members += [(f"attr_{name}", _string(base + path_of(bucket, key, name))) for name in names]
    yield _element(members, "") + "\n"
