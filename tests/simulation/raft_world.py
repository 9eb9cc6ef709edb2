"""A world of Raft nodes in one seed: time, network, disks and faults are simulated, the core is the real one.

Messages are dropped, doubled, delayed past each other and cut by partitions; hosts crash in the middle of a write and keep
a prefix of it; logs are compacted, members come and go. After every event the laws are checked (`raft_laws`).
Repeat one run: `python -m tests.simulation.raft_world --seed 7 --nodes 5 --trace`.
"""

from __future__ import annotations

import argparse
import dataclasses
import heapq
import random
import struct
from collections import deque
from collections.abc import Callable
from typing import Any

from manager.raft.core import (
    ChangeKind,
    ConfChange,
    ConfChangeRefused,
    Config,
    ConfState,
    EntryKind,
    MemoryStorage,
    Message,
    MessageKind,
    ProposalDropped,
    RaftError,
    RawNode,
    Ready,
    Role,
    SingleChange,
    Snapshot,
    Transition,
    bootstrap_snapshot,
)
from tests.simulation.raft_laws import LawBrokenError, Laws, require

TICK = 10
"""Simulated time units a tick."""


@dataclasses.dataclass(frozen=True)
class Weather:
    """How hostile a world is. Intervals are mean times between two such events; 0: never."""

    drop: float
    duplicate: float
    delay: int
    sync: int
    propose: int
    crash: int
    down: int
    partition: int
    change: int
    transfer: int
    compact: int
    read: int
    message_bytes: int
    window: int
    pre_vote: bool
    check_quorum: bool
    election_tick: int = 10

    @classmethod
    def of(cls, rng: random.Random) -> Weather:
        """Anything from mild to a storm."""
        return cls.storm(rng) if rng.random() < 0.3 else cls.mixed(rng)

    @classmethod
    def storm(cls, rng: random.Random) -> Weather:
        """Leaders come and go, and nothing dampens the elections: where votes and old terms go wrong, it is here."""
        return cls(
            drop=rng.choice((0.05, 0.15)),
            duplicate=0.1,
            delay=rng.choice((20, 50)),
            sync=rng.choice((5, 20)),
            propose=rng.choice((10, 30)),
            crash=rng.choice((40, 100)),
            down=rng.choice((10, 60)),
            partition=rng.choice((100, 200)),
            change=rng.choice((0, 0, 200)),
            transfer=rng.choice((0, 200)),
            compact=rng.choice((0, 100)),
            read=20,
            message_bytes=rng.choice((1, 120)),
            window=rng.choice((1, 4)),
            pre_vote=False,
            check_quorum=False,
            election_tick=3,
        )

    @classmethod
    def mixed(cls, rng: random.Random) -> Weather:
        """Each hazard drawn on its own."""
        return cls(
            drop=rng.choice((0.0, 0.02, 0.1, 0.25)),
            duplicate=rng.choice((0.0, 0.05, 0.2)),
            delay=rng.choice((2, 8, 40, 120)),
            sync=rng.choice((1, 5, 30)),
            propose=rng.choice((3, 10, 40)),
            crash=rng.choice((0, 300, 900)),
            down=rng.choice((50, 400)),
            partition=rng.choice((0, 250, 700)),
            change=rng.choice((0, 200, 800)),
            transfer=rng.choice((0, 500)),
            compact=rng.choice((0, 60, 300)),
            read=rng.choice((0, 40)),
            message_bytes=rng.choice((1, 120, 1 << 20)),
            window=rng.choice((1, 4, 64)),
            pre_vote=rng.random() < 0.7,
            check_quorum=rng.random() < 0.7,
        )


class Host:
    """One host: a disk that outlives it, a state machine that does not."""

    def __init__(self, host_id: int) -> None:
        self.id = host_id
        self.storage = MemoryStorage()
        self.up = False
        self.epoch = 0
        self.node: Any = None
        self.writing: Ready | None = None
        self.applied_early = False
        self.applied = 0
        self.digest = 0
        self.conf = ConfState()
        self.reads: dict[bytes, int] = {}


class World:
    """`run` is all a test needs; subclasses plant bugs by overriding one of the small steps."""

    def __init__(self, seed: int, size: int, weather: Weather | None = None) -> None:
        self.seed, self.size = seed, size
        self.rng = random.Random(f"{seed}/{size}")
        self.weather = weather or Weather.of(self.rng)
        self.now = 0
        self.events = 0
        self.calm = False
        self.trace: deque[str] = deque(maxlen=60)
        self.cut: set[tuple[int, int]] = set()
        self._queue: list[tuple[int, int, Callable[..., None], tuple[Any, ...]]] = []
        self._count = 0
        self._written = 0
        spare = 2 if self.weather.change else 0
        self.hosts = {host_id: Host(host_id) for host_id in range(1, size + spare + 1)}
        self.laws = Laws(self.hosts)
        founders = range(1, size + 1)
        for host in self.hosts.values():
            if host.id in founders:
                host.storage.apply_snapshot(bootstrap_snapshot(founders, self.machine_bytes(1, 0)))
            self.start(host)
            self.at(self.rng.randint(1, TICK), self.tick, host)
        for name in ("propose", "crash", "partition", "change", "transfer", "compact", "read"):
            self._again(name)

    # --- time

    def at(self, delay: int, action: Callable[..., None], *args: Any) -> None:
        self._count += 1
        heapq.heappush(self._queue, (self.now + delay, self._count, action, args))

    def _again(self, name: str) -> None:
        mean = getattr(self.weather, name)
        if mean and not self.calm:
            self.at(self.rng.randint(1, 2 * mean), self._happen, name)

    def _happen(self, name: str) -> None:
        if not self.calm:
            getattr(self, f"do_{name}")()
            self._again(name)

    def advance_to(self, until: int) -> None:
        while self._queue and self._queue[0][0] <= until:
            self.now, _, action, args = heapq.heappop(self._queue)
            self.events += 1
            action(*args)
        self.now = until

    def run(self, duration: int = 3000) -> World:
        """Bad weather, then calm, in which the cluster must come back to work. Raises LawBrokenError."""
        try:
            self.advance_to(duration)
            self.recover()
        except (LawBrokenError, RaftError) as error:
            raise LawBrokenError(
                f"{error}\n  at time {self.now}, event {self.events}; repeat with:\n"
                f"  python -m tests.simulation.raft_world --seed {self.seed} --nodes {self.size} --trace",
            ) from error
        return self

    def recover(self) -> None:
        """Liveness: with all hosts up and the network whole, a write reaches every member."""
        self.calm = True
        self.cut.clear()
        self.weather = dataclasses.replace(self.weather, drop=0.0, duplicate=0.0, delay=3, sync=2)
        for host in self.hosts.values():
            if not host.up:
                self.start(host)
        goal, deadline = 0, self.now + 400 * TICK
        while self.now < deadline:
            self.advance_to(self.now + TICK)
            leader = self.leader()
            if leader and leader.conf.voters_outgoing and not leader.conf.auto_leave:
                self.act(leader, lambda node: node.propose_conf_change(ConfChange()))
            elif leader and not leader.conf.voters_outgoing:
                goal = goal or self.laws.max_committed + 1
                self.do_propose()
                if all(self.hosts[member].applied >= goal for member in (*leader.conf.voters, *leader.conf.learners)):
                    return
        state = {h.id: (h.node.status().role.name, h.node.status().term, h.applied) for h in self.hosts.values()}
        require(False, "liveness", f"nothing past {self.laws.max_committed} reached all members in calm: {state}")

    # --- hosts

    def start(self, host: Host) -> None:
        self.trace.append(f"{self.now} start {host.id}")
        host.up = True
        host.node = self.make_node(host)
        host.conf = host.storage.initial_state()[1]
        host.applied = host.storage.first_index() - 1
        host.digest = 0
        if host.applied:
            self.restore(host, host.storage.snapshot())
        self.laws.observe(host)

    def make_node(self, host: Host) -> RawNode:
        config = Config(
            id=host.id,
            random=random.Random(self.rng.getrandbits(32)),
            election_tick=self.weather.election_tick,
            heartbeat_tick=1,
            max_bytes_per_message=self.weather.message_bytes,
            max_inflight_messages=self.weather.window,
            max_uncommitted_bytes=4096,
            pre_vote=self.weather.pre_vote,
            check_quorum=self.weather.check_quorum,
            applied=self._snapshot_index(host),
        )
        return RawNode(config, host.storage)

    @staticmethod
    def _snapshot_index(host: Host) -> int:
        return host.storage.snapshot().metadata.index if host.storage.first_index() > 1 else 0

    def crash(self, host: Host) -> None:
        """Power is gone: memory is lost, and of the write under way a prefix stays."""
        self.trace.append(f"{self.now} crash {host.id}")
        if host.writing:
            steps = self.write_steps(host, host.writing)
            for step in steps[: self.rng.randint(0, len(steps))]:
                step()
        host.up, host.node, host.writing = False, None, None
        host.epoch += 1
        host.reads.clear()
        self.laws.forget(host)

    def tick(self, host: Host) -> None:
        self.at(TICK, self.tick, host)
        self.act(host, lambda node: node.tick())

    def act(self, host: Host, action: Callable[[RawNode], None]) -> None:
        """Feeds a node, checks the laws, and lets it go on."""
        if not host.up:
            return
        try:
            action(host.node)
        except (ProposalDropped, ConfChangeRefused) as error:
            self.trace.append(f"{self.now} node {host.id}: {error}")
        self.laws.observe(host)
        self.pump(host)

    def pump(self, host: Host) -> None:
        """The driver: one Ready at a time, its write takes a while."""
        if host.writing or not host.node.has_ready():
            return
        ready = host.node.ready()
        self.laws.observe(host)
        host.writing = ready
        for message in ready.messages:
            self.send(message)
        host.applied_early = ready.snapshot is None and self.rng.random() < 0.3
        if host.applied_early:
            self.apply(host, ready)
        delay = self.rng.randint(1, self.weather.sync) if ready.must_sync else 0
        self.at(delay, self.written, host, host.epoch, ready)

    def written(self, host: Host, epoch: int, ready: Ready) -> None:
        if host.epoch != epoch:
            return
        for step in self.write_steps(host, ready):
            step()
        host.writing = None
        for message in ready.messages_after_sync:
            self.send(message)
        if ready.snapshot:
            self.restore(host, ready.snapshot)
        if not host.applied_early:
            self.apply(host, ready)
        for read in ready.read_states:
            if read.context in host.reads:  # else the network doubled the answer
                self.laws.read(host, read.index, host.reads.pop(read.context))
        host.node.advance(ready)
        self.laws.observe(host)
        self.pump(host)

    def write_steps(self, host: Host, ready: Ready) -> list[Callable[[], None]]:
        """The write in the order of the contract, cut where a crash may cut it."""
        steps: list[Callable[[], None]] = []
        if ready.snapshot:
            steps.append(lambda: host.storage.apply_snapshot(ready.snapshot))
        steps.extend(lambda entry=entry: host.storage.append([entry]) for entry in ready.entries)
        if ready.hard_state:
            steps.append(lambda: host.storage.set_hard_state(ready.hard_state))
        return steps

    # --- state machine

    @staticmethod
    def machine_bytes(index: int, digest: int) -> bytes:
        return struct.pack(">QI", index, digest)

    def restore(self, host: Host, snapshot: Snapshot) -> None:
        host.applied, host.digest = struct.unpack(">QI", snapshot.data)
        host.conf = snapshot.metadata.conf_state
        self.laws.restored(host, host.applied, host.digest, host.conf)

    def apply(self, host: Host, ready: Ready) -> None:
        for entry in ready.committed:
            host.digest = self.laws.applied(host, entry)
            host.applied = entry.index
            if entry.kind is EntryKind.CONF_CHANGE:
                overtaken = host.node._state.log.snapshot is not None
                conf = host.node.apply_conf_change(ConfChange.decode(entry.data))
                self.laws.observe(host)
                if overtaken:
                    continue
                host.conf = conf
            self.laws.member_view(host, entry.index, host.conf)

    # --- network

    def send(self, message: Message) -> None:
        self.laws.said(message)
        if self.rng.random() < self.weather.drop or (message.from_, message.to) in self.cut:
            if message.kind is MessageKind.SNAPSHOT:
                self.at(TICK, self.act, self.hosts[message.from_], lambda node: node.report_snapshot(message.to, False))
            elif self.rng.random() < 0.2:
                self.at(1, self.act, self.hosts[message.from_], lambda node: node.report_unreachable(message.to))
            return
        for _ in range(2 if self.rng.random() < self.weather.duplicate else 1):
            delay = self.rng.randint(1, self.weather.delay)
            if self.rng.random() < 0.02 and not self.calm:
                delay *= 20
            self.at(delay, self.deliver, message)

    def deliver(self, message: Message) -> None:
        host = self.hosts[message.to]
        if message.kind is MessageKind.SNAPSHOT:
            self.at(1, self.act, self.hosts[message.from_], lambda node: node.report_snapshot(message.to, host.up))
        self.act(host, lambda node: node.step(message))

    # --- what happens to them

    def leader(self) -> Host | None:
        """The leader of the highest term among the hosts that are up."""
        leading = [h for h in self.hosts.values() if h.up and h.node._state.role is Role.LEADER]
        return max(leading, key=lambda h: h.node._state.term, default=None)

    def do_propose(self) -> None:
        for host in self.hosts.values():
            if host.up and host.node._state.role is Role.LEADER:
                self._written += 1
                data = b"%d:" % self._written + b"x" * self.rng.randint(0, 40)
                self.act(host, lambda node, data=data: node.propose(data))

    def do_crash(self) -> None:
        """Leaders most of all: their logs are ahead of the others'."""
        leader = self.leader() if self.rng.random() < 0.5 else None
        host = leader or self.rng.choice(list(self.hosts.values()))
        if host.up:
            self.crash(host)
            self.at(self.rng.randint(1, 2 * self.weather.down), self._start_again, host)

    def _start_again(self, host: Host) -> None:
        if not host.up:
            self.start(host)

    def do_partition(self) -> None:
        """Cuts the hosts in two, or cuts some links in one direction, or heals."""
        ids = list(self.hosts)
        self.cut.clear()
        fate = self.rng.random()
        if fate < 0.5:
            side = set(self.rng.sample(ids, self.rng.randint(1, len(ids) - 1)))
            self.cut = {(a, b) for a in ids for b in ids if (a in side) != (b in side)}
        elif fate < 0.7:
            self.cut = {(self.rng.choice(ids), self.rng.choice(ids)) for _ in range(self.size)}
        self.trace.append(f"{self.now} cut {sorted(self.cut)}")

    def do_change(self) -> None:
        leader = self.leader()
        if not leader:
            return
        conf = leader.node._state.tracker.conf
        if conf.voters_outgoing and not conf.auto_leave:
            change = ConfChange()
        else:
            count = self.rng.choice((1, 1, 1, 2, 3))
            nodes = self.rng.sample(list(self.hosts), count)
            change = ConfChange(
                tuple(SingleChange(self.rng.choice(list(ChangeKind)), node) for node in nodes),
                transition=self.rng.choice(list(Transition)),
            )
            if len({*conf.voters} - {c.node for c in change.changes if c.kind is not ChangeKind.ADD_VOTER}) < 2:
                return
        self.act(leader, lambda node: node.propose_conf_change(change))

    def do_transfer(self) -> None:
        leader = self.leader()
        if leader:
            heir = self.rng.choice(list(self.hosts))
            self.act(leader, lambda node: node.transfer_leader(heir))

    def do_compact(self) -> None:
        host = self.rng.choice(list(self.hosts.values()))
        if host.up and host.applied > self._snapshot_index(host) and host.applied == host.node._state.log.applied:
            keep = self.rng.choice((0, 2, 20))
            data = self.machine_bytes(host.applied, host.digest)
            host.storage.create_snapshot(host.applied, self.snapshot_conf(host), data)
            host.storage.compact(max(host.storage.first_index() - 1, host.applied - keep))
            self.trace.append(f"{self.now} host {host.id} compacts to {host.applied}-{keep}")

    def snapshot_conf(self, host: Host) -> ConfState:
        return host.conf

    def do_read(self) -> None:
        host = self.rng.choice(list(self.hosts.values()))
        if host.up:
            self._written += 1
            context = b"read %d" % self._written
            host.reads[context] = self.laws.max_committed
            self.act(host, lambda node: node.read_index(context))


def main() -> None:
    parser = argparse.ArgumentParser(description="Run the simulated Raft world of one seed, or of many.")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int, default=1, help="how many seeds, from --seed on")
    parser.add_argument("--nodes", type=int, default=5)
    parser.add_argument("--duration", type=int, default=3000)
    parser.add_argument("--trace", action="store_true", help="print what happened last before a law broke")
    args = parser.parse_args()
    for seed in range(args.seed, args.seed + args.count):
        world = World(seed, args.nodes)
        try:
            world.run(args.duration)
        except LawBrokenError:
            if args.trace:
                print("\n".join(world.trace))
            raise
        print(
            f"seed {seed}: {world.events} events, {world.laws.max_committed} committed, {len(world.laws.leaders)} leaders"
        )


if __name__ == "__main__":
    main()
