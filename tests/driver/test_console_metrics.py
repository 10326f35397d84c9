"""The page for Prometheus, and the dashboard that asks it."""

from __future__ import annotations

import json
import re
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from hailbox.console import scrape
from haild.daemon import metrics
from haild.daemon.insight import Insight

DASHBOARD = Path(__file__).parents[2] / "docs" / "grafana.json"
_WORDS = {"sum", "by", "rate", "replica", "operation", "status", "le", "histogram_quantile", "changes"}


def counted() -> str:
    insight = Insight()
    insight.count("PutObject", "200", 0.004, 4096, 0)
    insight.count("PutObject", "200", 20.0, 1, 0)
    insight.count("GetObject", "404", 0.0004, 0, 300)
    insight.count("CMO_LOCK", "OK", None)
    return metrics.text(insight)


def samples(text: str) -> dict[tuple[str, str, str], float]:
    return {
        (sample.name, sample.labels.get("operation", ""), sample.labels.get("le", sample.labels.get("status", ""))): (
            sample.value
        )
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_a_daemon_counts_requests_by_operation_and_status() -> None:
    found = samples(counted())
    assert found["haild_requests_total", "PutObject", "200"] == 2
    assert found["haild_requests_total", "GetObject", "404"] == 1
    assert found["haild_requests_total", "CMO_LOCK", "OK"] == 1
    assert found["haild_request_duration_seconds_bucket", "PutObject", "0.005"] == 1
    assert found["haild_request_duration_seconds_bucket", "PutObject", "10.0"] == 1
    assert found["haild_request_duration_seconds_bucket", "PutObject", "+Inf"] == 2
    assert found["haild_request_duration_seconds_bucket", "GetObject", "0.0005"] == 1
    assert ("haild_request_duration_seconds_count", "CMO_LOCK", "") not in found
    assert found["haild_received_bytes_total", "PutObject", ""] == 4097
    assert found["haild_sent_bytes_total", "GetObject", ""] == 300
    assert scrape.total(counted()) == 4


def test_one_page_has_the_samples_of_all_replicas_once() -> None:
    text = scrape.page(
        {"tabled-1": counted(), "chunkd-1": counted(), "iwhd-1": None},
        {"tabled-1": "tabled", "chunkd-1": "chunkd"},
        {"tabled-1": True, "iwhd-1": False},
        {"tabled-1": 1 << 20},
    )
    names = re.findall(r"^# TYPE (\S+)", text, re.MULTILINE)
    assert len(names) == len(set(names))
    assert 'haild_requests_total{operation="GetObject",replica="chunkd-1",service="chunkd",status="404"} 1.0' in text
    assert 'hailbox_replica_up{replica="iwhd-1"} 0.0' in text
    assert 'hailbox_replica_memory_bytes{replica="tabled-1"} 1.048576e+06' in text


def test_the_dashboard_asks_for_what_is_exported() -> None:
    text = scrape.page({"tabled-1": counted()}, {}, {"tabled-1": True}, {"tabled-1": 1})
    exported = {sample.name for family in text_string_to_metric_families(text) for sample in family.samples}
    asked = {
        name
        for panel in json.loads(DASHBOARD.read_text())["panels"]
        for target in panel["targets"]
        for name in re.findall(r"\b[a-z_]{2,}\b", re.sub(r"\{[^}]*\}|\[[^]]*\]", "", target["expr"]))
        if name not in _WORDS
    }
    assert asked
    assert asked <= exported
