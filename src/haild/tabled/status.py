"""The status port: a page for people, the same as JSON, and metrics in Prometheus' text format (tabled.md 12).

It answers from the start, also while this process is a stand-by or waits for CLD.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Collection, Mapping
from html import escape
from typing import Any, Final, Protocol

from haild.daemon.insight import HERE
from haild.http.origin import host_refusal, page_refusal
from haild.http.request import Request

_PAGE: Final = """<!DOCTYPE html><html><head><title>tabled status</title></head><body>
<h1>Status</h1><p>Host {host} port {port}</p>
<p>Group {group}, state {state}, name {name}, database {database}{waiting}</p>
<h2>Peers</h2><ul>{peers}</ul>
<h2>Counters</h2><ul>{counters}</ul>
<h2>Storage nodes</h2><ul>{nodes}</ul>
<h2>Data replication</h2><p>{replication}</p>
</body></html>
"""
_HTML: Final = "text/html; charset=utf-8"
_SMALL: Final = "<html><head><title>{0}</title></head><body><h1>{0}</h1></body></html>\n"


class Subject(Protocol):
    """What the page is about."""

    async def describe(self) -> dict[str, Any]:
        """The state of the moment, ready for JSON."""
        ...


class Statistics:
    """Counts of answers, by action and status."""

    def __init__(self) -> None:
        self.answers: Counter[tuple[str, int]] = Counter()
        self.started = time.time()

    def answered(self, action: str, status: int) -> None:
        """An answer was given."""
        self.answers[action, status] += 1


class StatusServer:
    """Serves the three forms."""

    def __init__(self, subject: Subject, statistics: Statistics, names: Collection[str]) -> None:
        """`names`: of this server in Host, beside loopback."""
        self._names = names
        self._subject = subject
        self._statistics = statistics

    async def handle(self, request: Request) -> None:
        """Answer one request: GET and HEAD of `/`, `/status.json` and `/metrics`."""
        host, origin = request.headers.get("Host"), request.headers.get("Origin")
        why = host_refusal(host, self._names, request.own_address)
        if why := why or page_refusal(host, origin, request.headers.get("Sec-Fetch-Site")):
            status, kind, text = 403, "text/plain; charset=utf-8", f"{why}\n"
        else:
            status, kind, text = await self._answer(request.method, request.target)
        body = text.encode()
        request.respond(status, {"Content-Type": kind}, body, length=len(body))

    async def _answer(self, method: str, target: str) -> tuple[int, str, str]:
        """Status, content type and text."""
        if method not in ("GET", "HEAD"):
            return 400, _HTML, _SMALL.format("Bad request")
        if target == "/":
            return 200, _HTML, page(await self._subject.describe())
        if target == "/status.json":
            text = json.dumps(await self._subject.describe(), indent=1) + "\n"
            return 200, "application/json; charset=utf-8", text
        if target == "/metrics":
            text = metrics(await self._subject.describe(), self._statistics)
            return 200, "text/plain; version=0.0.4; charset=utf-8", text
        return 404, _HTML, _SMALL.format("Not found")


def page(state: Mapping[str, Any]) -> str:
    """The page for people."""

    def items(texts: list[str]) -> str:
        return "".join(f"<li>{text}</li>" for text in texts)

    nodes = [
        f"{node['id']} {'up' if node['up'] else '<b style=color:red>down</b>'} {escape(node['address'])}"
        f" last contact {node['last_seen']} ({node['age']} s ago)"
        for node in state["nodes"]
    ]
    where = f", {state['master_address']}" if state["master_address"] else ""
    peers = [escape(peer + (f" (master{where})" if peer == state["master"] else "")) for peer in state["peers"]]
    replication = state["replication"]
    return _PAGE.format(
        host=escape(state["host"]),
        port=state["port"],
        group=escape(state["group"]),
        state=state["state"],
        name=escape(state["name"]),
        database=state["database"] or "none",
        waiting="" if state["in_session"] else ", <b>waiting for CLD</b>",
        peers=items(peers),
        counters=items([f"{escape(name)}: {value}" for name, value in state["counters"].items()]),
        nodes=items(nodes),
        replication=", ".join(f"{name}: {value}" for name, value in replication.items()) or "no scan has run",
    )


_COUNTERS: Final = {
    "tabled_errors": ("Requests that were answered with an error.", "counters", "errors"),
    "tabled_replication_scans": ("Searches for bodies with too few copies.", "replication", "scans"),
    "tabled_replication_restored": ("Copies made again.", "replication", "restored"),
}
_GAUGES: Final = {
    "tabled_buckets": ("Buckets.", "counters", "buckets"),
    "tabled_objects": ("Objects, with old versions.", "counters", "objects"),
    "tabled_bodies": ("Bodies that the metadata name.", "counters", "bodies"),
    "tabled_uploads": ("Multipart uploads under way.", "counters", "uploads"),
    "tabled_garbage": ("Copies that are to be deleted from storage nodes.", "counters", "garbage"),
    "tabled_replication_running": ("Whether copies are being made again.", "replication", "running"),
    "tabled_replication_waiting": ("Lost nodes whose time to come back runs.", "replication", "waiting"),
}
"""By name: its help, and where its value is in the description. What only a master knows is left out elsewhere."""


def metrics(state: Mapping[str, Any], statistics: Statistics) -> str:
    """Prometheus' text format, version 0.0.4."""
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily  # they take long to load

    from haild.daemon import metrics as shared

    answers = CounterMetricFamily("tabled_requests", "Answers given.", labels=["action", "status"])
    for (action, status), count in sorted(statistics.answers.items()):
        answers.add_metric([action, str(status)], count)
    started = round(statistics.started, 3)
    families = [
        answers,
        shared.gauge("tabled_master", "Whether this process serves.", int(state["state"] == "Master")),
        shared.gauge("tabled_cld_session", "Whether there is a session with CLD.", int(state["in_session"])),
        shared.gauge("tabled_start_time_seconds", "Start of the process, seconds since 1970.", started),
    ]
    for make, known in ((shared.counter, _COUNTERS), (shared.gauge, _GAUGES)):
        families += [
            make(name, text, int(state[group][key]))
            for name, (text, group, key) in known.items()
            if key in state[group]
        ]
    nodes = GaugeMetricFamily("tabled_node_up", "Whether a storage node is up.", labels=["node"])
    for node in state["nodes"]:
        nodes.add_metric([str(node["id"])], int(node["up"]))
    return shared.render([*families, nodes, *shared.requests(HERE), *shared.process(HERE)])
