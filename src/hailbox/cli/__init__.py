"""The command line: parses and renders, and nothing else."""

import time

STARTED = time.monotonic()
"""When the program began, but for the interpreter's own start."""
