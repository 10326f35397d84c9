"""Measuring the services, and comparing what was measured."""

from __future__ import annotations

from typing import Any, Final

from markupsafe import Markup

from hailbox.bench.measure import BenchResult
from hailbox.console import plot
from hailbox.console.console import Console
from hailbox.console.pages.page import Page, Query
from hailbox.stack.endpoint import SERVICES


def drawn(results: list[tuple[int, BenchResult]]) -> list[tuple[str, Markup]]:
    """A plot for each replica: bars of each operation, those of one measurement in one colour."""
    rows: dict[str, dict[tuple[str, int], list[plot.Bar]]] = {}
    for mark, (number, result) in enumerate(results):
        for figure in result.figures:
            at = (figure.operation, figure.connections)
            label = f"#{number} {figure.operation} ×{figure.connections}"
            text = f"{figure.per_second:,.0f}/s, {figure.median * 1000:.2f} ms"
            rows.setdefault(figure.replica, {}).setdefault(at, []).append(
                plot.Bar(label, figure.per_second, text, mark)
            )
    return [
        (replica, plot.bars(f"Operations a second of {replica}", [bar for bars in each.values() for bar in bars]))
        for replica, each in rows.items()
    ]


async def gather(console: Console, _query: Query) -> dict[str, Any]:
    """See `page.Gather`."""
    present = {replica.service for replica in console.view.replicas}
    results = list(console.benches)[-3:]
    return {
        "services": [service for service in SERVICES if service in present],
        "results": results,
        "plots": drawn(results),
    }


PAGE: Final = Page("bench", "/bench", "Bench", ("bench",), gather, every=5.0)
