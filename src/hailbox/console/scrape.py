"""The counts of all daemons of a stack as one page for Prometheus."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from hailbox.context import Context
from hailbox.engine.port import Container
from hailbox.model import names
from hailbox.model.errors import HailboxError

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_WORDS: Final = ("python3", "-m", "haild.daemon.reader", "metrics")


def read(context: Context, container: Container) -> str | None:
    """What the daemon in a container counts; None where it tells nothing: it does not answer, or is not ours."""
    try:
        said = context.engine.execute(container.id, list(_WORDS))
    except HailboxError:
        return None
    return said.output.decode(errors="replace") if said.status == 0 else None


def total(text: str) -> float:
    """All requests that a daemon has answered, by its counts."""
    return sum(
        float(line.rpartition(" ")[2]) for line in text.splitlines() if line.startswith("haild_requests_total{")
    )


def page(
    texts: Mapping[str, str | None],
    services: Mapping[str, str],
    working: Mapping[str, bool],
    memory: Mapping[str, int],
) -> str:
    """One text of all: each sample with its replica and service. By replica: what `read` gave, the service, whether
    it works, and the bytes of memory that it takes."""
    from prometheus_client import CollectorRegistry, generate_latest
    from prometheus_client.core import GaugeMetricFamily, Metric
    from prometheus_client.parser import text_string_to_metric_families

    families: dict[str, Metric] = {}
    for replica, text in texts.items():
        labels = {"replica": replica, "service": services.get(replica, "")}
        for family in text_string_to_metric_families(text or ""):
            known = families.setdefault(family.name, Metric(family.name, family.documentation, family.type))
            for sample in family.samples:
                known.add_sample(sample.name, {**sample.labels, **labels}, sample.value)
    up = GaugeMetricFamily("hailbox_replica_up", "Whether a probe of the replica succeeds.", labels=["replica"])
    taken = GaugeMetricFamily("hailbox_replica_memory_bytes", "Memory of the replica.", labels=["replica"])
    for replica, works in working.items():
        up.add_metric([replica], int(works))
    for replica, size in memory.items():
        taken.add_metric([replica], size)

    class Families:
        """What the registry collects from."""

        def collect(self) -> Iterable[Metric]:
            yield from (*families.values(), up, taken)

    registry = CollectorRegistry(auto_describe=False)
    registry.register(Families())
    return generate_latest(registry).decode()


def containers(found: Iterable[Container]) -> Iterator[tuple[str, Container]]:
    """Those of replicas, each with its replica's name."""
    for container in found:
        if names.HELPER not in container.labels and names.REPLICA in container.labels:
            yield container.labels[names.REPLICA], container
