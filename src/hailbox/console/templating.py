"""The pages as HTML. Every value is escaped; a template that uses one that is not there fails."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import jinja2

from hailbox.console import words
from hailbox.model.size import rounded

FOLDER: Final = Path(__file__).parent / "templates"


class Templates:
    """Renders the templates of this package."""

    def __init__(self) -> None:
        self._environment = jinja2.Environment(
            loader=jinja2.FileSystemLoader(FOLDER),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.filters |= {
            "size": rounded,
            "duration": words.duration,
            "left": words.left,
            "clock": words.clock,
            "moment": words.moment,
        }

    def render(self, name: str, values: dict[str, Any]) -> str:
        """The text of a template."""
        return self._environment.get_template(name).render(values)
