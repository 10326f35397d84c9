"""Objects of tabled and iwhd side by side, and one object with its copies."""

from __future__ import annotations

import asyncio
import urllib.parse
from typing import Any, Final

from hailbox.console import objects
from hailbox.console.changes import in_thread
from hailbox.console.console import Console
from hailbox.console.jobs import command_line
from hailbox.console.pages.page import Page, Query


def address(path: str, **parameters: str) -> str:
    """An address of a page, with those of the parameters that are not empty; a key may be any text."""
    given = {name: value for name, value in parameters.items() if value}
    encoded = urllib.parse.urlencode(given, errors="surrogateescape", quote_via=urllib.parse.quote)
    return f"{path}?{encoded}" if encoded else path


async def gather(console: Console, query: Query) -> dict[str, Any]:
    """See `page.Gather`."""
    bucket, prefix, after = (query.get(name, "") for name in ("bucket", "prefix", "after"))
    expression = query.get("query", "").strip()
    services = {replica.service for replica in console.view.replicas}
    context = console.context()
    asked = []
    if "tabled" in services:
        asked.append(objects.tabled_side(context, bucket, prefix, after))
    if "iwhd" in services:
        asked.append(objects.iwhd_side(context, bucket, prefix, after, expression))
    sides = await asyncio.gather(*asked)
    return {
        "sides": sides,
        "buckets": sorted({bucket for side in sides for bucket in side.buckets}),
        "bucket": bucket,
        "prefix": prefix,
        "after": after,
        "expression": expression,
        "address": address,
    }


async def gather_object(console: Console, query: Query) -> dict[str, Any]:
    """See `page.Gather`."""
    bucket, key = query.get("bucket", ""), query.get("key", "")
    context = console.context()
    services = {replica.service for replica in console.view.replicas}
    described = await objects.describe(context, bucket, key)
    where = None
    if "tabled" in services and described.s3 is not None:
        found = await in_thread(lambda: objects.placement(context, bucket, key))
        if found is not None:
            where = await objects.whereabouts(context, found, read_all=query.get("verify") == "all")
    return {
        "bucket": bucket,
        "key": key,
        "described": described,
        "where": where,
        "address": address,
        "env_line": f'eval "$({command_line(console.stack, ["env"])})"',
    }


PAGE: Final = Page("objects", "/objects", "Objects", ("objects",), gather, every=2.0)
OBJECT: Final = Page("object", "/object", "Object", ("attributes", "copies"), gather_object, every=3.0, in_menu=False)
