"""What an unused stack costs: log lines and processor time in 60 s of idleness, per container."""

from __future__ import annotations

import subprocess
import sys
import time

import docker

STACK = "bench-idle"
SECONDS = 60
SETTLE = 5


def hailbox(*words: str) -> None:
    """Run the program on the stack."""
    subprocess.run([sys.executable, "-m", "hailbox", "-s", STACK, *words, "-q"], cwd="/", check=True)


def main() -> None:
    """Measure and print the table."""
    client = docker.from_env()
    hailbox("up")
    try:
        time.sleep(SETTLE)
        containers = client.containers.list(filters={"label": f"org.hailbox.stack={STACK}"})
        since = int(time.time())

        def used() -> dict[str, float]:
            return {c.name: c.stats(stream=False)["cpu_stats"]["cpu_usage"]["total_usage"] / 1e9 for c in containers}

        before, started = used(), time.monotonic()
        time.sleep(SECONDS)
        after, elapsed = used(), time.monotonic() - started
        print(f"{'container':<32}{'log lines':>10}{'CPU s':>10}{'% of a core':>13}")
        total_lines, total_cpu = 0, 0.0
        for container in sorted(containers, key=lambda c: c.name):
            lines = len(container.logs(since=since).splitlines())
            cpu = after[container.name] - before[container.name]
            total_lines, total_cpu = total_lines + lines, total_cpu + cpu
            print(f"{container.name:<32}{lines:>10}{cpu:>10.3f}{cpu / elapsed * 100:>13.2f}")
        print(f"{'all':<32}{total_lines:>10}{total_cpu:>10.3f}{total_cpu / elapsed * 100:>13.2f}")
    finally:
        hailbox("destroy")


if __name__ == "__main__":
    main()
