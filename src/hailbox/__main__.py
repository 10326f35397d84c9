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


def _search_own_modules_only() -> None:
    """Take the current directory and PYTHONPATH off the search for modules, where a `yaml.py` or `docker.py` of the
    user's would be run in place of ours. PYTHONPATH stays where hailbox itself comes from it."""
    own = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    try:
        here = os.getcwd()
    except OSError:
        here = ""
    given = [entry for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep) if os.path.isabs(entry)]
    strangers = set() if own in given else set(given)
    sys.path[:] = [
        entry for entry in sys.path if entry == own or (os.path.isabs(entry) and entry not in {here, *strangers})
    ]


def main() -> None:
    """Entry point of the program."""
    _search_own_modules_only()
    if sys.argv[1:2] == ["__complete"]:
        from hailbox.completion.complete import main as complete

        sys.exit(complete(sys.argv[2:]))
    from hailbox.cli.app import main as run

    run()


if __name__ == "__main__":
    main()
