"""What a page is."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from hailbox.console.console import Console

Query = Mapping[str, str]
"""The parameters of a page's address, those in its path included."""

Gather = Callable[[Console, Query], Awaitable[dict[str, Any]]]
"""Gathers what the templates of a page show. Raises HailboxError."""


@dataclass(frozen=True)
class Page:
    """One page: `templates/NAME.html` around the live parts `templates/parts/PART.html`."""

    name: str
    path: str
    """As aiohttp writes routes."""
    title: str
    parts: tuple[str, ...]
    gather: Gather
    every: float = 2.0
    """Seconds after which the parts are gathered again without a change having been told; 0: never."""
    in_menu: bool = True
