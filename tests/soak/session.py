"""One stack of a soak: brought up, written to, disturbed, healed each time by one `up`, checked, destroyed."""

from __future__ import annotations

import random
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import tenacity
from botocore.exceptions import BotoCoreError, ClientError

from soak import clients, plan
from soak.register import NotLinearizableError
from support import inflict
from support.enginestack import Stack
from support.holders import History, TwoHoldersError

ANSWER: Final = 60.0
"""Seconds within which clients get answers again once `up` has said that all works."""


@dataclass
class Tally:
    """What a soak counts."""

    rounds: int = 0
    disturbances: Counter[str] = field(default_factory=Counter)
    operations: int = 0
    """Requests of clients whose record was judged."""
    acknowledged: int = 0
    locks: int = 0
    manual: list[str] = field(default_factory=list)
    """Where one `up` did not do: what it said instead."""
    lost: list[str] = field(default_factory=list)
    """What was acknowledged and is gone, stale, or wrong."""
    left: list[str] = field(default_factory=list)
    """What `destroy` has left on the engine."""

    @property
    def clean(self) -> bool:
        return not (self.manual or self.lost or self.left)


class Session:
    """One round. `engine_restart` kills and starts the engine, where it is the soak's own."""

    def __init__(
        self,
        seed: int,
        profile: str,
        directory: Path,
        tally: Tally,
        *,
        engine_restart: Callable[[], None] | None = None,
        say: Callable[[str], None] = print,
    ) -> None:
        self.seed, self.profile, self.tally, self.say = seed, profile, tally, say
        self.random = random.Random(f"{seed}/{profile}")
        self.stack = Stack(f"soak-{seed}-{profile}", directory)
        self.record = clients.Record()
        self.history, self._guard = History(), threading.Lock()
        self._engine_restart = engine_restart
        self._workers: list[clients.Client] = []
        self._env: dict[str, str] = {}

    def run(self, until: float, most: int) -> None:
        """Disturb the stack until the moment `until` (seconds, monotonic), at most `most` times."""
        try:
            self.stack.run("up", "--profile", self.profile)
            self._start()
            replicas = [entry["replica"] for entry in self.stack.run("status").data["replicas"]]
            own = self._engine_restart is not None
            for count, event in enumerate(plan.disturbances(self.random, replicas, own_engine=own)):
                if count >= most or time.monotonic() >= until:
                    break
                self.say(f"  {event}")
                self._disturb(event)
                self._heal(event)
            self._finish()
        except AssertionError as error:
            self.tally.lost.append(f"seed {self.seed}, {self.profile}: {error}")
        finally:
            for worker in self._workers:
                worker.enough.set()
            self.stack.run("destroy", ok=False)
            self.tally.left += self.stack.labelled()
            self.stack.client.close()
            self.tally.rounds += 1

    def _start(self) -> None:
        env = self._env = self.stack.env()
        workers: list[clients.Client] = []
        if "AWS_ENDPOINT_URL" in env:
            connections = [clients.s3_client(url, env) for url in env["TABLED_URLS"].split(",")]
            connections[0].create_bucket(Bucket=clients.BUCKET)
            workers += [clients.S3Worker(f"s{n}", self.seed, self.record, list(connections)) for n in range(3)]
        if "IWHD_URL" in env:
            workers.append(clients.IwhdWorker("i0", self.seed, env["IWHD_URL"]))
            workers[-1].request("PUT", f"{clients.BUCKET}w")  # type: ignore[attr-defined]
        if "CLD_ADDRESS" in env:
            workers += [clients.LockHolder(f"l{n}", self.seed, env, self.history, self._guard) for n in range(2)]
        self._workers = workers
        for worker in workers:
            worker.start()

    def _disturb(self, event: plan.Disturbance) -> None:
        """Inflict it. A disturbance that the stack's state makes impossible counts as well: the command said so."""
        self.tally.disturbances[event.kind] += 1
        word, _, fault = event.kind.partition(" ")
        if event.kind == "kill driver":
            self._kill_driver(event)
            return
        if word == "fault":
            names = [event.replica, *filter(None, [event.other])]
            more = {"slow": ["--delay", "200ms"]}.get(fault, [])
            self.stack.run("fault", fault, *names, *more, ok=False)
        elif event.kind == "crash":
            inflict.crash(self.stack, event.replica)
        elif event.kind == "remove container":
            inflict.remove_container(self.stack, event.replica)
        elif event.kind == "remove network":
            inflict.remove_network(self.stack, "")
        elif event.kind == "down":
            self.stack.run("down")
        elif event.kind == "restart engine":
            assert self._engine_restart is not None
            self._engine_restart()
        time.sleep(event.seconds)

    def _kill_driver(self, event: plan.Disturbance) -> None:
        command = self.stack.command(*event.command)
        with subprocess.Popen(
            command,
            env=self.stack.environment(),
            cwd=self.stack.home,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as process:
            try:
                process.wait(event.seconds)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)

    def _heal(self, event: plan.Disturbance) -> None:
        """One `up`, and nothing else, makes the stack work; clients get answers again."""
        answer = self.stack.run("up", ok=False)
        if answer.status != 0:
            self.tally.manual.append(f"seed {self.seed}, {self.profile}, {event}: {answer.errors}")
            again = self.stack.run("up", ok=False)
            assert again.status == 0, f"two `up` did not heal {event}: {again.errors}"
        before = {worker: worker.acknowledged for worker in self._workers}
        self._eventually(lambda: all(worker.acknowledged > before[worker] for worker in self._workers), event)

    def _eventually(self, condition: Callable[[], bool], event: plan.Disturbance) -> None:
        waiting = tenacity.Retrying(
            retry=tenacity.retry_if_result(lambda well: not well),
            wait=tenacity.wait_random_exponential(multiplier=0.02, max=0.3),
            stop=tenacity.stop_after_delay(ANSWER),
        )
        try:
            waiting(condition)
        except tenacity.RetryError:
            crashed = [f"{worker.name}: {worker.crashed!r}" for worker in self._workers if worker.crashed]
            raise AssertionError(f"clients have no answers after {event} and `up`; {crashed}") from None

    def _finish(self) -> None:
        """Stop the clients; everything acknowledged is there, in the order of the answers, and listed."""
        for worker in self._workers:
            worker.finish()
            self.tally.acknowledged += worker.acknowledged
        for worker in self._workers:
            if isinstance(worker, clients.IwhdWorker):
                worker.check()
            self.tally.lost += [f"seed {self.seed}, {self.profile}: {text}" for text in worker.wrong]
        try:
            if "AWS_ENDPOINT_URL" in self._env:
                self._read_all()
            self.tally.operations += self.record.check()
            self.tally.locks += self.history.check()
        except (NotLinearizableError, TwoHoldersError) as error:
            self.tally.lost.append(f"seed {self.seed}, {self.profile}: {error}")

    def _read_all(self) -> None:
        for url in self._env["TABLED_URLS"].split(","):
            s3: Any = clients.s3_client(url, self._env)
            present = set()
            for key, operations in self.record.operations.items():
                begin = time.monotonic()
                try:
                    value = clients.held(s3, key)
                except (BotoCoreError, ClientError) as error:
                    self.tally.lost.append(f"seed {self.seed}, {self.profile}: {key} cannot be read: {error}")
                    continue
                operations.append(clients.Operation(begin, time.monotonic(), "read", value))
                if value is not None:
                    present.add(key)
            pages = s3.get_paginator("list_objects_v2").paginate(Bucket=clients.BUCKET)
            listed = {entry["Key"] for page in pages for entry in page.get("Contents", [])}
            if listed != present:
                wrong = sorted(listed ^ present)
                self.tally.lost.append(f"seed {self.seed}, {self.profile}: the listing is wrong about {wrong}")
