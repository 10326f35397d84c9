"""A server, clients, a network and clocks in virtual time, and everything that goes wrong between them.

The server and the clients are the real machines of `haild.cld` and `haild.client.cld`. Simulated: TCP and UDP with
delays, losses, duplicates and partitions; processes that are killed, stopped and started; a store whose commits take
time and may or may not have happened when the server is killed; clients' clocks that run up to 5 % fast or slow.

After every event the simulation asks each client, by that client's own clock, whether it believes to hold the lock,
records it, and raises TwoHoldersError if two do: `support.holders`.
"""

import heapq
import itertools
import random
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

from haild.cld import machine as server
from haild.cld.changes import Changes
from haild.cld.session import Datagrams, Peer, Stream
from haild.client.cld.machine import Answered, BackAgain, Happened, Lost, Machine, Outcome, Reconnect, State
from haild.wire.cld import messages as cld
from haild.wire.cld.messages import ErrorCode, Op
from support.cld_harness import MemoryStore
from support.holders import History


class Wire:
    """One client's way to the server: a TCP connection or a UDP port."""

    def __init__(self, simulation: "Simulation", client: "Client", *, tcp: bool, port: int) -> None:
        self.simulation = simulation
        self.client = client
        self.tcp = tcp
        self.peer: Peer = Stream("c", port) if tcp else Datagrams("c", port)
        self.generation = simulation.generation
        self.closed = False
        self.queues: dict[bool, deque[tuple[float, bytes | None]]] = {True: deque(), False: deque()}
        self.ready = {True: 0.0, False: 0.0}

    def send(self, data: bytes | None, *, up: bool) -> None:
        """Send a packet, or (None) the end of the connection."""
        simulation = self.simulation
        if not self.tcp:
            if data is not None and simulation.rng.random() >= simulation.loss:
                for _ in range(1 + (simulation.rng.random() < simulation.loss)):
                    simulation.at(simulation.delay(), lambda: self.datagram(data, up=up))
            return
        self.ready[up] = max(self.ready[up], simulation.now + simulation.delay())
        self.queues[up].append((self.ready[up], data))
        simulation.at(self.ready[up] - simulation.now, lambda: self.drain(up=up))

    def drain(self, *, up: bool) -> None:
        queue = self.queues[up]
        while queue and queue[0][0] <= self.simulation.now and not self.client.cut[up]:
            if self.simulation.paused if up else self.client.stopped:
                return
            _, data = queue.popleft()
            if up:
                self.simulation.arrived(self, data)
            else:
                self.client.arrived(self, data)

    def datagram(self, data: bytes, *, up: bool) -> None:
        if self.client.cut[up]:
            return
        simulation = self.simulation
        if up:
            if simulation.paused:
                simulation.backlog.append((self, data))
            elif simulation.service is None:
                if not self.client.cut[False]:
                    simulation.at(simulation.delay(), lambda: self.client.refused(self))
            else:
                simulation.arrived(self, data)
        elif self.closed or self.client.dead:
            if not self.client.cut[True]:
                simulation.at(simulation.delay(), lambda: simulation.unreachable(data[8:16], self.peer))
        elif self.client.stopped:
            self.client.backlog.append((self, data))
        else:
            self.client.arrived(self, data)


class Client:
    """A process that takes the lock, holds it for a while, gives it up, and so on."""

    def __init__(self, simulation: "Simulation", *, tcp: bool) -> None:
        self.simulation = simulation
        self.tcp = tcp
        self.rate = simulation.rng.uniform(0.95, 1.05)
        self.cut = {True: False, False: False}
        self.dead = False
        self.stopped = False
        self.backlog: list[tuple[Wire, bytes]] = []
        self.wire: Wire | None = None
        self.old: list[Wire] = []
        self.machine: Machine | None = None
        self.handle = 0
        self.holds = False
        self.waiting = False
        self.asked: dict[int, Op] = {}
        self.times_held = 0
        self.wake = 0
        self.later: list[Callable[[], None]] = []

    @property
    def clock(self) -> float:
        return self.simulation.now * self.rate

    def believes(self) -> bool:
        machine = self.machine
        return (
            self.holds
            and not self.dead
            and machine is not None
            and machine.state != State.LOST
            and self.clock < machine.valid_until
        )

    def running(self) -> bool:
        return not self.dead and not self.stopped

    def start(self) -> None:
        """Begin a session."""
        if self.dead or self.stopped:
            return
        rng = self.simulation.rng
        self.machine = Machine(
            user=b"tabled", secret=b"tabled", reliable=self.tcp, lease=self.simulation.lease, randomness=rng.randbytes
        )
        self.holds = self.waiting = False
        self.asked = {}
        self.connect(first=True)

    def connect(self, *, first: bool) -> None:
        """Make a connection; where the server is not to be reached, try again."""
        machine = self.machine
        if self.stopped:
            self.later.append(partial(self.connect, first=first))
            return
        if self.dead or machine is None or machine.state == State.LOST:
            return
        if self.tcp and (self.simulation.service is None or self.cut[True] or self.cut[False]):
            if first:
                self.lose()
            else:
                self.simulation.at(0.1, lambda: self.connect(first=False))
            return
        if self.wire is not None:
            self.old.append(self.wire)
        self.wire = self.simulation.wire(self, tcp=self.tcp)
        if first:
            machine.start(self.clock)
        else:
            machine.connected(self.clock)
        self.flush()

    def flush(self) -> None:
        machine = self.machine
        if machine is None or not self.running():
            return
        packets, machine.outbox = machine.outbox, []
        for packet in packets:
            if self.wire is not None and not self.wire.closed:
                self.wire.send(packet, up=True)
        while machine.outcomes and machine is self.machine:
            self.outcome(machine.outcomes.popleft())
        deadline = machine.deadline()
        if deadline is not None and machine is self.machine:
            self.wake += 1
            wake = self.wake
            self.simulation.at(max(0.0, deadline - self.clock) / self.rate, lambda: self.tick(wake))

    def tick(self, wake: int) -> None:
        if wake == self.wake and self.running() and self.machine is not None:
            self.machine.tick(self.clock)
            self.flush()

    def arrived(self, wire: Wire, data: bytes | None) -> None:
        if self.dead or self.machine is None:
            return
        if data is None:
            wire.closed = True
            if wire is self.wire:
                self.machine.disconnected(self.clock)
        elif wire is self.wire:
            self.machine.receive(data, self.clock)
        self.flush()

    def refused(self, wire: Wire) -> None:
        if self.running() and wire is self.wire and self.machine is not None:
            self.machine.disconnected(self.clock)
            self.flush()

    def request(self, op: Op, body: bytes) -> None:
        machine = self.machine
        if self.stopped:
            self.later.append(partial(self.request, op, body))
        elif machine is not None and not self.dead and machine.state != State.LOST:
            if op == Op.UNLOCK:
                self.holds = False
            self.asked[machine.request(op, body, self.clock)] = op
            self.flush()

    def outcome(self, outcome: Outcome) -> None:
        started = isinstance(outcome, Answered) and outcome.xid == 0
        if self.tcp and self.machine is not None and (started or isinstance(outcome, BackAgain)):
            port = next(self.simulation.port)
            self.simulation.lifelines[port] = (self, self.machine)
            self.machine.announce(port, self.clock)
            self.simulation.at(0, self.flush)
        if isinstance(outcome, Lost):
            self.lose()
        elif isinstance(outcome, Reconnect):
            self.connect(first=False)
        elif isinstance(outcome, BackAgain):
            for wire in self.old:
                wire.client.close(wire)
            self.old.clear()
            owned = {entry.handle: entry.locked for entry in outcome.owned}
            if owned.get(self.handle) and self.waiting:
                self.got_it()
        elif isinstance(outcome, Happened):
            if outcome.bits & cld.EventMask.LOCKED and self.waiting:
                self.got_it()
        elif outcome.xid == 0:
            body = cld.OpenRequest(0x14, 0, b"/lock").encode()
            self.request(Op.OPEN, body)
        else:
            self.answered(self.asked.pop(outcome.xid), outcome)

    def answered(self, op: Op, answer: Answered) -> None:
        rng, simulation = self.simulation.rng, self.simulation
        if op == Op.OPEN:
            self.handle = cld.OpenReply.decode(answer.body).handle
            self.ask()
        elif op == Op.UNLOCK:
            simulation.at(rng.uniform(0, 2), self.ask)
        elif answer.code == ErrorCode.OK:
            self.got_it()
        elif answer.code == ErrorCode.LOCK_PENDING:
            self.waiting = True
        elif answer.code == ErrorCode.LOCK_CONFLICT:
            simulation.at(rng.uniform(0, 1), self.ask)

    def asking(self, *ops: Op) -> bool:
        return any(op in ops for op in self.asked.values())

    def ask(self) -> None:
        if self.stopped:
            self.later.append(self.ask)
            return
        if not self.holds and not self.waiting and not self.asking(Op.LOCK, Op.TRYLOCK):
            op = Op.LOCK if self.simulation.rng.random() < 0.7 else Op.TRYLOCK
            self.request(op, cld.LockRequest(self.handle, 0).encode())

    def got_it(self) -> None:
        self.holds = True
        self.waiting = False
        self.times_held += 1
        machine = self.machine

        def give_up() -> None:
            if self.holds and machine is self.machine:
                self.request(Op.UNLOCK, cld.HandleRequest(self.handle).encode())

        self.simulation.at(self.simulation.rng.expovariate(1 / 2), give_up)

    def close(self, wire: Wire) -> None:
        if not wire.closed:
            wire.closed = True
            wire.send(None, up=True)

    def lose(self) -> None:
        """The session is lost: close everything, begin again."""
        self.holds = False
        for wire in [*self.old, *([self.wire] if self.wire is not None else [])]:
            self.close(wire)
        self.old.clear()
        self.wire = None
        self.machine = None
        self.simulation.at(self.simulation.rng.uniform(0.05, 0.5), self.start_unless_started)

    def start_unless_started(self) -> None:
        if self.machine is None:
            self.start()

    def kill(self) -> None:
        self.dead = True
        for wire in [*self.old, *([self.wire] if self.wire is not None else [])]:
            self.close(wire)

    def stop(self) -> None:
        self.stopped = True

    def go_on(self) -> None:
        """Continue a stopped process: what came meanwhile is read, then its timers fire."""
        if not self.stopped:
            return
        self.stopped = False
        backlog, self.backlog = self.backlog, []
        for wire, data in backlog:
            self.arrived(wire, data)
        for wire in [*self.old, *([self.wire] if self.wire is not None else [])]:
            wire.drain(up=False)
        later, self.later = self.later, []
        if self.machine is None:
            self.simulation.at(0.1, self.start_unless_started)
            return
        self.tick(self.wake)
        for action in later:
            action()


class Simulation:
    """One random run."""

    def __init__(self, seed: int, *, clients: int = 4, loss: float = 0.05) -> None:
        self.rng = random.Random(seed)
        self.now = 1000.0
        self.lease = float(self.rng.choice((2, 3, 5, 10)))
        self.loss = loss
        self.heap: list[tuple[float, int, Callable[[], None]]] = []
        self.ticket = itertools.count()
        self.port = itertools.count(1)
        self.store = MemoryStore()
        self.service: server.Machine | None = None
        self.generation = 0
        self.paused = False
        self.backlog: list[tuple[Wire, bytes]] = []
        self.committing = False
        self.held: list[tuple[Peer, bytes]] = []
        self.wires: dict[Any, Wire] = {}
        self.lifelines: dict[int, tuple[Client, Machine]] = {}
        self.record = History()
        self.restarts = 0
        self.faults = 0
        self.boot()
        self.clients = [self.new_client() for _ in range(clients)]

    # --- the clockwork

    def at(self, seconds: float, action: Callable[[], None]) -> None:
        heapq.heappush(self.heap, (self.now + seconds, next(self.ticket), action))

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        while self.heap and self.heap[0][0] <= end:
            self.now, _, action = heapq.heappop(self.heap)
            action()
            self.check()
        self.now = end

    def check(self) -> None:
        holders = [f"client {number}" for number, client in enumerate(self.clients) if client.believes()]
        self.record.observe(self.now, holders)

    def delay(self) -> float:
        return self.rng.uniform(0.0001, 0.003) if self.rng.random() < 0.95 else self.rng.uniform(0, 0.5)

    # --- the server

    def boot(self) -> None:
        self.generation += 1
        self.held = []
        self.committing = False
        self.paused = False
        self.backlog = []
        service = server.Machine(
            secrets=None, rng=random.Random(self.rng.random()), wall=lambda: self.now, load=self.store.content
        )
        service.restore(self.store.load(), self.now)
        self.service = service
        self.serve()

    def serve(self) -> None:
        """Commit and release as `Committer` does, and wake up for the next timer."""
        service = self.service
        if service is None:
            return
        registry = service.registry
        output, registry.output = registry.output, []
        self.held += output
        if not self.committing:
            if service.changes:
                batch, held, self.held = service.changes.take(), self.held, []
                self.committing = True
                generation = self.generation
                self.pending = batch
                self.at(self.rng.uniform(0.0005, 0.02), lambda: self.committed(generation, batch, held))
            else:
                held, self.held = self.held, []
                self.release(held)
        deadline = service.deadline()
        if deadline is not None:
            generation = self.generation
            self.at(max(0.0, deadline - self.now), lambda: self.tick(generation))

    def committed(self, generation: int, batch: Changes, held: list[tuple[Peer, bytes]]) -> None:
        if generation != self.generation or self.service is None:
            return
        self.store.commit(batch)
        self.committing = False
        self.release(held)
        self.service.stored(batch)
        self.serve()

    def release(self, output: list[tuple[Peer, bytes]]) -> None:
        for peer, data in output:
            wire = self.wires.get(peer if isinstance(peer, Stream) else peer[:2])
            if wire is not None:
                wire.send(data, up=False)
            elif isinstance(peer, Datagrams):
                self.at(self.delay(), partial(self.probe, data, peer))

    def probe(self, data: bytes, peer: Datagrams) -> None:
        """A packet for a lifeline: answered, or its port is found closed."""
        client, machine = self.lifelines[peer.port]
        if client.cut[False] or client.cut[True]:
            return
        if client.dead or client.machine is not machine or machine.state == State.LOST:
            self.unreachable(data[8:16], peer)
        elif not client.stopped and self.service is not None and not self.paused:
            answer = machine.lifeline(data)
            if answer is not None:
                self.service.receive(answer, peer, self.now)
                self.serve()

    def tick(self, generation: int) -> None:
        if generation == self.generation and self.service is not None and not self.paused:
            deadline = self.service.deadline()
            if deadline is not None and deadline <= self.now:
                self.service.tick(self.now)
                self.serve()

    def arrived(self, wire: Wire, data: bytes | None) -> None:
        if self.service is None or (wire.tcp and wire.generation != self.generation):
            return
        if data is None:
            assert isinstance(wire.peer, Stream)
            self.service.stream_closed(wire.peer, self.now)
        else:
            self.service.receive(data, wire.peer, self.now)
        self.serve()

    def unreachable(self, sid: bytes, peer: Peer) -> None:
        if self.service is not None and isinstance(peer, Datagrams):
            self.service.port_closed(sid, peer, self.now)
            self.serve()

    def wire(self, client: Client, *, tcp: bool) -> Wire:
        wire = Wire(self, client, tcp=tcp, port=next(self.port))
        self.wires[wire.peer if isinstance(wire.peer, Stream) else wire.peer[:2]] = wire
        return wire

    # --- faults

    def new_client(self) -> Client:
        client = Client(self, tcp=self.rng.random() < 0.6)
        self.at(self.rng.uniform(0, 0.5), client.start)
        return client

    def kill_server(self) -> None:
        if self.service is None:
            return
        if self.committing and self.rng.random() < 0.5:
            self.store.commit(self.pending)
        self.service = None
        self.generation += 1
        for wire in self.wires.values():
            if wire.tcp and not wire.closed:
                wire.queues[False].clear()
                wire.send(None, up=False)
        down = self.rng.choice((0.05, 0.3, 1.0, self.lease * 0.9, self.lease * 1.5))
        self.restarts += 1
        self.at(down, self.boot)

    def pause_server(self) -> None:
        self.paused = True
        self.at(self.rng.choice((0.1, 1.0, self.lease, self.lease * 2)), self.unpause)

    def unpause(self) -> None:
        if not self.paused:
            return
        self.paused = False
        backlog, self.backlog = self.backlog, []
        for wire, data in backlog:
            self.arrived(wire, data)
        for wire in list(self.wires.values()):
            if wire.tcp:
                wire.drain(up=True)
        self.tick(self.generation)
        self.serve()

    def fault(self) -> None:
        """One thing goes wrong."""
        self.faults += 1
        rng = self.rng
        client = rng.choice(self.clients)
        kind = rng.randrange(6)
        if kind == 0:
            self.kill_server()
        elif kind == 1:
            self.pause_server()
        elif kind == 2:
            client.kill()
            self.clients[self.clients.index(client)] = self.new_client()
        elif kind == 3:
            client.stop()
            self.at(rng.uniform(0, 2 * self.lease), client.go_on)
        else:
            directions = rng.choice(([True], [False], [True, False]))
            for up in directions:
                client.cut[up] = True
                self.at(rng.uniform(0, 2 * self.lease), partial(self.heal, client, up))

    def heal(self, client: Client, direction: bool) -> None:
        client.cut[direction] = False
        for wire in [*client.old, *([client.wire] if client.wire is not None else [])]:
            wire.drain(up=True)
            wire.drain(up=False)
        for wire in self.wires.values():
            if wire.client is client and wire.tcp:
                wire.drain(up=True)

    def history(self, faults: int) -> int:
        """A run with so many faults, then peace. Returns how often the lock was taken in the time of peace."""
        for _ in range(faults):
            self.run(self.rng.expovariate(1 / 2))
            self.fault()
        for client in self.clients:
            self.heal(client, True)
            self.heal(client, False)
            client.go_on()
        self.run(3 * self.lease + 5)
        before = sum(client.times_held for client in self.clients)
        self.run(20)
        return sum(client.times_held for client in self.clients) - before
