"""XML shapes of the image warehouse (iwhd.md 5.1, 5.3, 6.2, 7.6), byte for byte, but escaped.

Lists are made piece by piece, so that none is ever whole in memory: each generator yields text.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final
from xml.sax.saxutils import escape, quoteattr

from haild.wire.iwhd.listing import HARMFUL, Link, Listed, ProviderEntry
from haild.wire.iwhd.target import VERSION, path_of


def _attribute(text: str) -> str:
    quoted: str = quoteattr(text, _QUOTES)
    return _plain(quoted)


def _text(text: str) -> str:
    escaped: str = escape(text)
    return _plain(escaped)


def _plain(text: str) -> str:
    """Harmful characters as references (XML 1.0, 4.1)."""
    return HARMFUL.sub(lambda match: f"&#x{ord(match[0]):x};", text)


# quoteattr would switch to single quotes for a text that holds double ones.
_QUOTES: Final[Mapping[str, str]] = {'"': "&quot;"}


def root(links: Iterable[Link]) -> Iterator[str]:
    """The document of the root: `links` in order."""
    yield f'<api service="image_warehouse" version="{VERSION}">\n'
    for link in links:
        yield f"\t<link rel={_attribute(link.relation)} href={_attribute(link.address)}/>\n"
    yield "</api>\n"


def providers(entries: Iterable[ProviderEntry]) -> Iterator[str]:
    """The list of providers."""
    yield "<providers>\n"
    for entry in entries:
        yield (
            f"\t<provider name={_attribute(entry.name)}>\n"
            f"\t\t<type>{_text(entry.type)}</type>\n"
            f"\t\t<host>{_text(entry.host)}</host>\n"
            f"\t\t<port>{entry.port}</port>\n"
            f"\t\t<username>{_text(entry.username)}</username>\n"
            f"\t\t<password>{_text(entry.password)}</password>\n"
            "\t</provider>\n"
        )
    yield "</providers>\n"


def objects_begin() -> str:
    """What precedes the first object of a list."""
    return "<objects>\n"


def objects(listed: Iterable[Listed], *, first: bool) -> str:
    """Some objects of a list; `first` says that none of the list was written before."""
    return "".join(
        f"\t<object>\n\t\t<bucket>{_text(each.bucket)}</bucket>\n\t\t<key>{_text(each.key)}</key>\n\t</object>\n"
        for each in listed
    )


def objects_end(*, empty: bool) -> str:
    """What follows the last object of a list."""
    return "</objects>\n"


def attributes(base: str, bucket: str, key: str, names: Iterable[str]) -> Iterator[str]:
    """The attribute list of an object; `base` is the address of the root without its slash."""
    yield "<object>\n"
    yield f"\t<object_body path={_attribute(base + path_of(bucket, key))}/>\n"
    yield f"\t<object_attr_list path={_attribute(base + path_of(bucket, key, '_attrs'))}/>\n"
    for name in names:
        path = _attribute(base + path_of(bucket, key, name))
        yield f"\t<object_attr name={_attribute(name)} path={path}/>\n"
    yield "</object>\n"
