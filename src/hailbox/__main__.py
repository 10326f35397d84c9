"""The program `hailbox`, which `python -m hailbox` is, too.

Nothing is loaded here that Python has not loaded anyway: until there is a handler, Ctrl-C shows a traceback.
"""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType
from typing import Final

_STATUS: Final = 130
_PROBLEM: Final = "hailbox was interrupted before it began; no stack was changed"
_REMEDY: Final = "run it again"
_ENVELOPE: Final = f"""\
{{
  "version": 1,
  "command": null,
  "stack": null,
  "status": "error",
  "exit_code": {_STATUS},
  "data": null,
  "errors": [
    {{
      "code": "interrupted",
      "problem": "{_PROBLEM}",
      "remedy": "{_REMEDY}"
    }}
  ]
}}
"""
"""As `hailbox.cli.envelope` would write it, which may not be loaded yet."""


def _leave(_number: int, _frame: FrameType | None) -> None:
    try:
        if "--json" in sys.argv[1:]:
            os.write(1, _ENVELOPE.encode())
        else:
            os.write(2, f"hailbox: {_PROBLEM} [interrupted]\n  → {_REMEDY}\n".encode())
    finally:
        os._exit(_STATUS)


def main() -> None:
    """Entry point of the program."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _leave)
    from hailbox.cli.app import main as run

    run()


if __name__ == "__main__":
    main()
