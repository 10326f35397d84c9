"""What ten stacks at once cost: the time of each `up`, `reset` and `destroy`, and memory and processor time at rest.

Half of them are of profile fs (one daemon), half of profile s3 (four). They are brought up one after the other, so
that each time is a stack's own and shows whether the eleventh would take longer than the first; then all are reset at
once, AT_ONCE side by side. Memory is what the engine charges to a stack's containers without the page cache.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

import docker

COUNT = 10
AT_ONCE = 4
REST = 20
STACKS = {f"bench-ten-{number}": "s3" if number % 2 else "fs" for number in range(COUNT)}


def hailbox(stack: str, *words: str) -> float:
    """Run the program on a stack; the seconds that it took."""
    started = time.monotonic()
    command = [sys.executable, "-m", "hailbox", "-s", stack, *words, "-q"]
    done = subprocess.run(command, cwd="/", capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"hailbox {' '.join(words)} of {stack}: {done.stdout}{done.stderr}")
    return time.monotonic() - started


def all_at_once(work: Callable[[str], float]) -> tuple[dict[str, float], float]:
    """Do it for all stacks, AT_ONCE side by side: seconds by stack, and of all together."""
    started = time.monotonic()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        each = dict(zip(STACKS, pool.map(work, STACKS), strict=True))
    return each, time.monotonic() - started


def charged(client: docker.DockerClient) -> dict[str, tuple[float, float]]:
    """By stack: bytes of memory without page cache, and seconds of processor time so far."""
    found: dict[str, tuple[float, float]] = {}
    for stack in STACKS:
        memory = processor = 0.0
        for container in client.containers.list(filters={"label": f"org.hailbox.stack={stack}"}):
            seen = container.stats(stream=False)
            held = seen["memory_stats"]
            # cgroup v1 calls the reclaimable page cache total_inactive_file, v2 inactive_file
            cache = held["stats"].get("total_inactive_file", held["stats"].get("inactive_file", 0))
            memory += held["usage"] - cache
            processor += seen["cpu_stats"]["cpu_usage"]["total_usage"] / 1e9
        found[stack] = memory, processor
    return found


def of_profile(profile: str, values: dict[str, float]) -> list[float]:
    """The values of the stacks of that profile."""
    return [value for stack, value in values.items() if STACKS[stack] == profile]


def line(name: str, unit: str, values: Iterable[float]) -> str:
    """Median, smallest and largest."""
    found = list(values)
    return f"  {name:<34}{statistics.median(found):>8.2f}{min(found):>8.2f}{max(found):>8.2f}   {unit}"


def main() -> None:
    """Measure and print the table."""
    client = docker.from_env()
    hailbox(next(iter(STACKS)), "build")
    try:
        up = {stack: hailbox(stack, "up", "--profile", profile) for stack, profile in STACKS.items()}
        nothing = {stack: hailbox(stack, "up") for stack in STACKS}
        before, started = charged(client), time.monotonic()
        time.sleep(REST)
        after, rested = charged(client), time.monotonic() - started
        reset, reset_all = all_at_once(lambda stack: hailbox(stack, "reset"))
    finally:
        destroy, destroy_all = all_at_once(lambda stack: hailbox(stack, "destroy"))
    memory = {stack: found[0] / 2**20 for stack, found in after.items()}
    processor = {stack: (after[stack][1] - before[stack][1]) / rested * 100 for stack in STACKS}
    print(f"{'':<36}{'median':>8}{'min':>8}{'max':>8}")
    for profile in ("fs", "s3"):
        print(f"profile {profile}, {len(of_profile(profile, up))} of {COUNT} stacks")
        print(line("memory at rest", "MiB", of_profile(profile, memory)))
        print(line("processor at rest", "% of a core", of_profile(profile, processor)))
        print(line("up from nothing, one by one", "s", of_profile(profile, up)))
        print(line("up with nothing to do", "s", of_profile(profile, nothing)))
        print(line(f"reset, {AT_ONCE} side by side", "s", of_profile(profile, reset)))
        print(line(f"destroy, {AT_ONCE} side by side", "s", of_profile(profile, destroy)))
    first, last = list(up.values())[:4], list(up.values())[-4:]
    print(f"the first four ups {sum(first):.1f} s, the last four {sum(last):.1f} s")
    print(f"all {COUNT}: memory {sum(memory.values()):.0f} MiB, reset {reset_all:.1f} s, destroy {destroy_all:.1f} s")


if __name__ == "__main__":
    main()
