"""The counts of a daemon in Prometheus' text format.

Names follow Prometheus' conventions: base units, `_total` for what only grows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from haild.daemon.insight import BOUNDS, Insight

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


class _Families:
    """What a registry collects from."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        yield from self._families


def render(families: Iterable[Metric]) -> str:
    """The text of these families."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Families(list(families)))
    return generate_latest(registry).decode()


def counter(name: str, text: str, value: float) -> Metric:
    """A count without labels; `name` without `_total`."""
    return CounterMetricFamily(name, text, value=value)


def gauge(name: str, text: str, value: float) -> Metric:
    """A value that goes up and down, without labels."""
    return GaugeMetricFamily(name, text, value=value)


def requests(insight: Insight) -> list[Metric]:
    """The requests that were answered, by operation and status."""
    labels = ["operation", "status"]
    counts = CounterMetricFamily("haild_requests", "Requests that were answered.", labels=labels)
    durations = HistogramMetricFamily(
        "haild_request_duration_seconds", "Time from a request's head to the end of its answer.", labels=["operation"]
    )
    received = CounterMetricFamily("haild_received_bytes", "Bytes of bodies received.", labels=["operation"])
    sent = CounterMetricFamily("haild_sent_bytes", "Bytes of bodies sent.", labels=["operation"])
    sums: dict[str, tuple[list[int], list[float]]] = {}
    for (operation, status), tally in sorted(insight.tallies.items(), key=lambda item: (item[0][0], str(item[0][1]))):
        counts.add_metric([operation, str(status)], tally.number)
        buckets, totals = sums.setdefault(operation, ([0] * (len(BOUNDS) + 1), [0.0, 0, 0]))
        for at, number in enumerate(tally.buckets):
            buckets[at] += number
        for at, number_ in enumerate((tally.seconds, tally.received, tally.sent)):
            totals[at] += number_
    for operation, (buckets, totals) in sums.items():
        cumulated, so_far = [], 0
        for bound, number in zip([*map(str, BOUNDS), "+Inf"], buckets, strict=True):
            so_far += number
            cumulated.append((bound, float(so_far)))
        if so_far:
            durations.add_metric([operation], cumulated, totals[0])
        received.add_metric([operation], totals[1])
        sent.add_metric([operation], totals[2])
    return [counts, durations, received, sent]


def process(insight: Insight) -> list[Metric]:
    """The process: its start, and what of it is watched."""
    return [
        gauge("haild_start_time_seconds", "Start of the process, seconds since 1970.", round(insight.started, 3)),
        gauge("haild_watched", "Whether the requests are being followed by a reader.", int(insight.watching)),
    ]


def text(insight: Insight) -> str:
    """Everything that the daemon counts."""
    return render([*process(insight), *requests(insight)]) + insight.gauges()
