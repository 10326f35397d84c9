"""`open`: the address of a service that speaks HTTP."""

from __future__ import annotations

from hailbox.commands.result import endpoints
from hailbox.context import Context
from hailbox.model.errors import UnknownServiceError
from hailbox.observe import present
from hailbox.stack import selection


def address(context: Context, service: str) -> str:
    """The URL of a service, of its first replica if it has several, or of a replica.

    Raises UnknownStackError; UnknownServiceError also for one that does not speak HTTP.
    """
    observed = present(context.engine, context.stack)
    replicas = selection.chosen(context.stack, selection.of_observed(observed), [service])
    where = endpoints(observed.ports)
    urls = [where[replica] for replica in replicas if where.get(replica, "").startswith("http")]
    if not urls:
        raise UnknownServiceError(f"{service} of stack {context.stack} does not speak HTTP", "open iwhd or tabled")
    return urls[0]
