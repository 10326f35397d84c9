"""The program `hailbox`, which `python -m hailbox` is, too.

Until there is a handler, Ctrl-C shows a traceback. So it is there before anything is imported that Python has not
loaded at its start: `signal` and `typing` alone would be half of the time until then, as they load `enum` and `re`.
"""

import _signal  # type: ignore[import-not-found]  # typeshed knows only what is built on it
import os
import sys

_STATUS = 130
_PROBLEM = "hailbox was interrupted before it began; no stack was changed"
_REMEDY = "run it again"
_ENVELOPE = f"""\
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


def _leave(_number: int, _frame: object) -> None:
    try:
        if "--json" in sys.argv[1:]:
            os.write(1, _ENVELOPE.encode())
        else:
            os.write(2, f"hailbox: {_PROBLEM} [interrupted]\n  → {_REMEDY}\n".encode())
    finally:
        os._exit(_STATUS)


if _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:
    _signal.signal(_signal.SIGINT, _leave)


def main() -> None:
    """Entry point of the program."""
    from hailbox.cli.app import main as run

    run()


if __name__ == "__main__":
    main()
