"""How fast the driver is, against Compose alone on the same images with chained health checks, in one run.

The peer: the same Compose file, each service with a health check of 1 s interval, and each waiting for the one
before it (`service_healthy`), brought up with `up --detach --wait`. Medians of ROUNDS; every round does all of it.
Then the critical chains of one more `up` and `reset` as text, and with the peer's as a picture, results/driver.svg.
"""

from __future__ import annotations

import datetime
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from _picture import Chain, Step, svg

from hailbox.engine import composecli

ROUNDS = 3
PICTURE = Path(__file__).parent / "results" / "driver.svg"
OURS, PEER = "bench-ours", "bench-peer"
CHAIN = (("cld-1", 8081), ("chunkd-1", 8082), ("tabled-1", 8080), ("iwhd-1", 9090))


def hailbox(*words: str) -> str:
    """Run the program from the root directory; its output."""
    done = subprocess.run(
        [sys.executable, "-m", "hailbox", *words], cwd="/", capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise SystemExit(f"hailbox {' '.join(words)}: {done.stdout}{done.stderr}")
    return done.stdout


def chained(text: str) -> str:
    """The Compose file with a chain of health checks."""
    document: dict[str, Any] = yaml.safe_load(text)
    before = {"credentials": {"condition": "service_completed_successfully"}}
    for name, port in CHAIN:
        service = document["services"][name]
        connect = f"import socket; socket.create_connection(('127.0.0.1', {port}), 1)"
        service["healthcheck"] = {
            "test": ["CMD", "python3", "-c", connect],
            "interval": "1s",
            "timeout": "2s",
            "retries": 30,
        }
        service["depends_on"] = before
        before = {name: {"condition": "service_healthy"}}
    return yaml.safe_dump(document)


def compose(text: str, *words: str) -> None:
    """Run Compose on the peer's stack."""
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        file.write(text)
        file.flush()
        command = [*composecli.find().command, "-p", f"hailbox-{PEER}", "-f", file.name, *words]
        done = subprocess.run(command, cwd="/", capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"compose {' '.join(words)}: {done.stderr}")


def seconds(work: Callable[[], object]) -> float:
    """How long `work` takes."""
    started = time.monotonic()
    work()
    return time.monotonic() - started


def round_of_figures(flat: str, chain: str) -> dict[str, float]:
    """One round: every figure once, ours and the peer's in turn."""
    up = ("up", "--detach", "--wait", "--no-build", "--pull", "never")
    figures = {"up from nothing": seconds(lambda: hailbox("-s", OURS, "up", "-q"))}
    figures["up with nothing to do"] = seconds(lambda: hailbox("-s", OURS, "up", "-q"))
    figures["status"] = seconds(lambda: hailbox("-s", OURS, "status"))
    figures["--help"] = seconds(lambda: hailbox("--help"))
    figures["reset to working"] = seconds(lambda: hailbox("-s", OURS, "reset", "-q"))
    figures["down"] = seconds(lambda: hailbox("-s", OURS, "down", "-q"))
    figures["up after down"] = seconds(lambda: hailbox("-s", OURS, "up", "-q"))
    figures["destroy"] = seconds(lambda: hailbox("-s", OURS, "destroy", "-q"))
    figures["peer: chain from nothing"] = seconds(lambda: compose(chain, *up))
    figures["peer: down -v, chain again"] = seconds(lambda: (compose(chain, "down", "-v"), compose(chain, *up)))
    compose(chain, "down", "-v")
    figures["peer: flat, not waiting"] = seconds(lambda: compose(flat, "up", "--detach", "--no-build"))
    compose(flat, "down", "-v")
    return figures


def measured(verb: str) -> Chain:
    """Run `up` or `reset` once more, and print its steps."""
    data = json.loads(hailbox("-s", OURS, verb, "--json"))["data"]
    stack = data["stack"] if verb == "reset" else data
    steps = [Step(span["name"], span["begin"], span["end"]) for span in stack["timings"]]
    replicas = sorted(stack["replicas"], key=lambda replica: replica["seconds"])
    steps += [Step(f"{replica['replica']} works", replica["seconds"], replica["seconds"]) for replica in replicas]
    chain = Chain(f"hailbox {verb}", steps)
    scale = 50 / chain.end
    print(f"\n{chain.title:<24}{'from':>6}{'s':>7}")
    for step in steps:
        bar = " " * round(step.begin * scale) + ("#" * round((step.end - step.begin) * scale) or "*")
        print(f"  {step.name:<22}{step.begin:>6.2f}{step.end - step.begin:>7.2f}  {bar}")
    return chain


def peers_chain(text: str) -> Chain:
    """Run the peer once more: from each container's start to the next one's."""
    began = time.time()
    compose(text, "up", "--detach", "--wait", "--no-build", "--pull", "never")
    ended = time.time() - began
    names = ["credentials", *(name for name, _ in CHAIN)]
    asked = ["docker", "inspect", "--format", "{{.State.StartedAt}}", *(f"hailbox-{PEER}-{name}" for name in names)]
    said = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.split()
    starts = [datetime.datetime.fromisoformat(time[:26].rstrip("Z") + "+00:00").timestamp() - began for time in said]
    edges = [*starts, ended]
    steps = [Step(f"{name} runs, the next waits", edges[at], edges[at + 1]) for at, name in enumerate(names)]
    return Chain("Compose alone", [Step("networks, volumes, containers", 0.0, starts[0]), *steps])


def draw(chain: str) -> None:
    """Print the steps of our commands, and draw them and the peer's."""
    chains = [measured("up"), measured("reset")]
    hailbox("-s", OURS, "destroy", "-q")
    chains.append(peers_chain(chain))
    compose(chain, "down", "-v")
    PICTURE.write_text(svg(chains))


def main() -> None:
    """Measure and print the table."""
    hailbox("-s", PEER, "build", "-q")
    flat = hailbox("-s", PEER, "compose")
    chain = chained(flat)
    rounds = [round_of_figures(flat, chain) for _ in range(ROUNDS)]
    median = {name: statistics.median(figures[name] for figures in rounds) for name in rounds[0]}
    peers = {"up from nothing": "peer: chain from nothing", "reset to working": "peer: down -v, chain again"}
    print(f"{'':<28}{'median s':>9}{'min':>7}{'max':>7}   ratio to peer")
    for name, value in median.items():
        values = [figures[name] for figures in rounds]
        ratio = f"{value / median[peers[name]]:.2f} of {peers[name]!r}" if name in peers else ""
        print(f"{name:<28}{value:>9.2f}{min(values):>7.2f}{max(values):>7.2f}   {ratio}")
    draw(chain)


if __name__ == "__main__":
    main()
