"""How a daemon refuses to start."""

from __future__ import annotations


class StartError(Exception):
    """The daemon cannot start; the text is one line for the user. The exit status is 1."""
