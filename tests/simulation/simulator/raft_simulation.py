"""Raft simulation: time, network, disks and faults are simulated; the core, log recovery and the store are the real ones.

Messages are lost, duplicated, reordered and cut by partitions. Hosts crash between any two steps of a write, or stall.
Logs are compacted, members join, leave, change their addresses and remove themselves. The invariants are checked after
every step. One seed is one run; repeat it with
`python -m tests.simulation.simulator.raft_simulation --seed 7 --nodes 5 --trace`.
"""

from __future__ import annotations

import argparse
import heapq
import random
from collections import deque
from collections.abc import Callable
from typing import Any

import msgspec

from manager.raft.core import (
    ChangeKind,
    ConfChange,
    ConfState,
    Message,
    MessageKind,
    Role,
    SingleChange,
    Transition,
    bootstrap_snapshot,
)
from manager.raft.membership import add_change
from manager.store import Member, View
from manager.store import snapshot as store_snapshot
from tests.simulation.simulator.consecutive_changes import ConsecutiveChanges
from tests.simulation.simulator.fault_rates import TICK, FaultRates
from tests.simulation.simulator.raft_invariants import InvariantViolatedError, RaftInvariants, require
from tests.simulation.simulator.simulated_manager import SimulatedManager

DURATION = 5000
LEADER_TICKS = 120
WORK_TICKS = 400
"""In calm weather there is a leader within so many ticks, and everybody has everything within so many."""

_HAPPENINGS = ("propose", "crash", "stall", "partition", "change", "transfer", "compact", "read", "hold", "rush")


class RaftSimulation:
    """`run` is all a test needs. `steps` counts messages delivered, ticks, disk steps, client actions and faults."""

    def __init__(
        self, seed: int, size: int, weather: FaultRates | None = None, *, without: tuple[str, ...] = (), trace: int = 60
    ) -> None:
        self.seed, self.size, self.without = seed, size, without
        self.rng = random.Random(f"{seed}/{size}")
        self.weather = (weather or FaultRates.random(self.rng)).without(without)
        self.now = 0
        self.steps = 0
        self.calm = False
        self.trace: deque[tuple[object, ...]] = deque(maxlen=trace)
        self.verbose = trace > 60
        self.cut: set[tuple[int, int]] = set()
        self.rush: ConsecutiveChanges | None = None
        self._queue: list[tuple[int, int, Callable[..., None], tuple[Any, ...]]] = []
        self._count = 0
        self._written = 0
        self._begin(2 if self.weather.change or self.weather.rush else 0)

    def _begin(self, spare: int) -> None:
        founders = range(1, self.size + 1)
        self.hosts = {host_id: SimulatedManager(host_id, self) for host_id in range(1, self.size + spare + 1)}
        self.laws = RaftInvariants(self.hosts, ConfState(voters=tuple(founders)))
        members = tuple([self.member(host_id) for host_id in founders])
        begin = bootstrap_snapshot(founders, store_snapshot.encode(View.empty(), members))
        for host in self.hosts.values():
            host.laws = self.laws
            if host.id in founders:
                host.disk.found(begin)
            host.start()
            pace = self.rng.choice((TICK, TICK, TICK - 2, TICK + 3))
            self.at(self.upto(TICK), self._tick, host, pace)
        for name in _HAPPENINGS:
            self._again(name)

    def member(self, host_id: int) -> Member:
        return Member(raft_id=host_id, node_id=f"node-{host_id}", addr=f"10.0.{self._written % 250}.{host_id}:2378")

    def note(self, *words: object) -> None:
        self.trace.append((self.now, *words))

    # Time.

    def upto(self, most: int) -> int:
        """From 1 to most."""
        return 1 + int(self.rng.random() * most)

    def at(self, delay: int, action: Callable[..., None], *args: Any) -> None:
        self._count += 1
        heapq.heappush(self._queue, (self.now + delay, self._count, action, args))

    def _again(self, name: str) -> None:
        mean = getattr(self.weather, name)
        if mean and not self.calm:
            self.at(self.upto(2 * mean), self._happen, name)

    def _happen(self, name: str) -> None:
        if not self.calm:
            self.steps += 1
            getattr(self, f"do_{name}")()
            self._again(name)

    def advance_to(self, until: int) -> None:
        queue = self._queue
        while queue and queue[0][0] <= until:
            self.now, _, action, args = heapq.heappop(queue)
            action(*args)
        self.now = until

    def run(self, duration: int = DURATION) -> RaftSimulation:
        """Bad weather, then calm, in which the cluster must come back to work. Raises LawBrokenError."""
        try:
            self.advance_to(duration)
            self.recover()
        except InvariantViolatedError as error:
            raise InvariantViolatedError(error.law, self._story(error)) from error
        except Exception as error:  # whatever it is, the manager would be gone
            raise InvariantViolatedError("no manager stops by itself", self._story(error)) from error
        return self

    def _story(self, error: Exception) -> str:
        without = f" --without {','.join(self.without)}" if self.without else ""
        return (
            f"{type(error).__name__}: {error}\n  at time {self.now}, step {self.steps}; repeat with:\n"
            f"  python -m tests.simulation.simulator.raft_simulation --seed {self.seed} --nodes {self.size}{without} --trace"
        )

    def recover(self) -> None:
        """Liveness: with all hosts up and the network whole there is a leader soon, and a write reaches every member."""
        self.calm = True
        self.cut.clear()
        self.weather = self.weather.no_faults()
        for host in self.hosts.values():
            host.stalled_until = 0
            self.release(host)
            if not host.up:
                host.start()
        goal, begin = 0, self.now
        # Without pre-vote a node that was removed and does not know it may stand in the way for a while.
        patience = (LEADER_TICKS if self.weather.pre_vote else WORK_TICKS) * TICK
        led_at = self.now
        while self.now < begin + WORK_TICKS * TICK:
            self.advance_to(self.now + TICK)
            leader = self.leader()
            led_at = self.now if leader else led_at
            require(self.now - led_at < patience, "liveness", f"no leader for {self.now - led_at} in calm weather")
            if leader and leader.conf.voters_outgoing and not leader.conf.auto_leave:
                leader.act(lambda node: node.propose_conf_change(ConfChange()))
            elif leader and not leader.conf.voters_outgoing:
                goal = goal or self.laws.max_committed + 1
                self.do_propose()
                if all(member.applied >= goal for member in self._members_of(leader)):
                    self._settle()
                    return
        require(
            False, "liveness", f"nothing past {self.laws.max_committed} reached all members in calm: {self._reach()}"
        )

    def _members_of(self, leader: SimulatedManager) -> list[SimulatedManager]:
        conf = leader.conf
        return [self.hosts[member] for member in sorted({*conf.voters, *conf.learners, *conf.voters_outgoing})]

    def _reach(self) -> dict[int, tuple[object, ...]]:
        return {h.id: (h.node.status().role.name, h.node.status().term, h.applied) for h in self.hosts.values()}

    def _settle(self) -> None:
        """No more clients: what they wait for is answered, and all members come to hold the same."""
        deadline = self.now + WORK_TICKS * TICK
        while self.now < deadline:
            self.advance_to(self.now + TICK)
            leader = self.leader()
            members = self._members_of(leader) if leader else []
            if members and {(m.applied, m.clients) for m in members} == {(self.laws.max_committed, 0)}:
                for member in members:
                    self.laws.nothing_lost(member)
                return
        require(False, "liveness", f"members differ after {WORK_TICKS} idle ticks: {self._reach()}")

    # Hosts.

    def _tick(self, host: SimulatedManager, pace: int) -> None:
        self.at(TICK if self.calm else pace, self._tick, host, pace)
        if host.up and host.stalled_until <= self.now:
            self.steps += 1
            host.tick()

    def after_sync_delay(self, host: SimulatedManager, action: Callable[..., None], *args: Any) -> None:
        """The next step of a disk, void if the host dies before."""
        self.at(self.upto(self.weather.sync), self._disk_step, host, host.epoch, action, args)

    def after_apply_delay(self, host: SimulatedManager, action: Callable[..., None], *args: Any) -> None:
        """What was handed out to be applied is, void as above."""
        self.at(self.upto(self.weather.apply), self._host_step, host, host.epoch, action, args)

    def _disk_step(
        self, host: SimulatedManager, epoch: int, action: Callable[..., None], args: tuple[Any, ...]
    ) -> None:
        if host.held_until > self.now:
            host.held.append((epoch, action, args))
        else:
            self._host_step(host, epoch, action, args)

    def _host_step(
        self, host: SimulatedManager, epoch: int, action: Callable[..., None], args: tuple[Any, ...]
    ) -> None:
        if host.epoch != epoch:
            return
        if host.stalled_until > self.now:
            self.at(host.stalled_until - self.now, self._disk_step, host, epoch, action, args)
            return
        self.steps += 1
        action(*args)

    # Network.

    def send(self, message: Message) -> None:
        self.laws.said(message)
        if self.verbose:
            self.note("send", message)
        weather, rng = self.weather, self.rng
        if rng.random() < weather.drop or (message.from_, message.to) in self.cut:
            if message.kind is MessageKind.SNAPSHOT:
                self.at(TICK, self._report_snapshot, message, False)
            elif rng.random() < 0.2:
                self.at(1, self.hosts[message.from_].act, lambda node: node.report_unreachable(message.to))
            return
        if message.snapshot:
            full = self.hosts[message.from_].disk.load(message.snapshot.metadata.index)
            message = msgspec.structs.replace(message, snapshot=full)
        for _ in range(2 if rng.random() < weather.duplicate else 1):
            delay = self.upto(weather.delay)
            if rng.random() < 0.02 and not self.calm:
                delay *= 20
            self.at(delay, self._deliver, message)

    def _deliver(self, message: Message) -> None:
        host = self.hosts[message.to]
        if host.stalled_until > self.now:
            self.at(host.stalled_until - self.now, self._deliver, message)
            return
        if message.kind is MessageKind.SNAPSHOT:
            self.at(1, self._report_snapshot, message, host.up)
        if host.up:
            self.steps += 1
            host.act(lambda node: node.step(message))

    def _report_snapshot(self, message: Message, ok: bool) -> None:
        self.hosts[message.from_].act(lambda node: node.report_snapshot(message.to, ok))

    # What happens to them.

    def leader(self) -> SimulatedManager | None:
        """The leader of the highest term among the hosts that are up."""
        leading = [h for h in self.hosts.values() if h.up and h.node._state.role is Role.LEADER]
        return max(leading, key=lambda h: h.node._state.term, default=None)

    def do_propose(self) -> None:
        """At every manager that believes it leads."""
        for host in self.hosts.values():
            if host.leads and host.stalled_until <= self.now:
                self._written += 1
                host.propose(self._written, self.rng)

    def do_crash(self) -> None:
        """Leaders most of all: their logs are ahead of the others'; or one amid a snapshot. Sometimes the power of all goes."""
        fate = self.rng.random()
        hosts = list(self.hosts.values())
        amid = [host for host in hosts if host.up and host.amid_snapshot] if fate < 0.4 else []
        leader = self.leader() if fate < 0.6 else None
        victims = [self.rng.choice(amid) if amid else leader or self.rng.choice(hosts)]
        if fate > 0.95:
            victims = hosts
        for host in victims:
            self.strike(host, back_within=2 * self.weather.down)

    def strike(self, host: SimulatedManager, *, back_within: int) -> None:
        """Cuts its power; it starts again within a time."""
        if host.up:
            host.crash()
            self._break_connections(host.id)
            self.at(self.upto(back_within), self._start_again, host)

    def _break_connections(self, end: int) -> None:
        """Those who listened to a host see the connection break, after a while, and perhaps when it is back already."""
        for host in self.hosts.values():
            if host.id != end and self.rng.random() < 0.7:
                self.at(self.upto(2 * self.weather.delay), host.act, lambda node: node.suspect_leader(end))

    def _start_again(self, host: SimulatedManager) -> None:
        if not host.up:
            self.steps += 1
            host.start()

    def do_stall(self) -> None:
        """A host stands still for a while (SIGSTOP, a hung disk): it wakes up and believes that nothing happened."""
        host = self.leader() if self.rng.random() < 0.5 else self.rng.choice(list(self.hosts.values()))
        if host:
            host.stalled_until = self.now + self.upto(40 * TICK)
            self.note("stall", host.id, "until", host.stalled_until)

    def do_hold(self) -> None:
        """A disk is slow for a while: what comes in meanwhile is written at once."""
        self.hold(self.rng.choice(list(self.hosts)), self.upto(20 * TICK))

    def hold(self, host_id: int, duration: int) -> None:
        host = self.hosts[host_id]
        host.held_until = self.now + duration
        self.note("hold", host_id, "until", host.held_until)
        self.at(duration, self._hold_ends, host)

    def _hold_ends(self, host: SimulatedManager) -> None:
        if host.held_until <= self.now:
            self.release(host)

    def release(self, host: SimulatedManager) -> None:
        """Its disk goes on."""
        host.held_until = 0
        held, host.held = host.held, []
        for step in held:
            self.at(1, self._disk_step, host, *step)

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
        else:
            self._break_connections(self.rng.choice(ids))  # for nothing: nobody has died
        self.note("cut", sorted(self.cut))

    def do_change(self) -> None:
        leader = self.leader()
        if not leader or leader.stalled_until > self.now:
            return
        conf = leader.node._state.tracker.conf
        change = ConfChange() if conf.voters_outgoing and not conf.auto_leave else self._change(conf)
        voters = {*conf.voters} - {c.node for c in change.changes if c.kind is not ChangeKind.ADD_VOTER}
        if len(voters) >= 2 or not change.changes:
            self.note("change", leader.id, change)
            leader.act(lambda node: node.propose_conf_change(change))

    def _change(self, conf: ConfState) -> ConfChange:
        """A member's new address, one that comes or goes, or several at once; the leader among them."""
        self._written += 1
        if self.rng.random() < 0.4:
            host_id = self.rng.choice(list(self.hosts))
            kind = ChangeKind.ADD_VOTER if host_id in conf.voters else ChangeKind.ADD_LEARNER
            return add_change(kind, self.member(host_id))
        nodes = self.rng.sample(list(self.hosts), self.rng.choice((1, 1, 1, 2, 3)))
        changes = tuple([SingleChange(self.rng.choice(list(ChangeKind)), node) for node in nodes])
        return ConfChange(changes, transition=self.rng.choice(list(Transition)))

    def do_rush(self) -> None:
        leader = self.leader()
        if leader and not self.rush and not self.cut:
            self.rush = ConsecutiveChanges(self, leader)
            self.rush.begin()

    def do_transfer(self) -> None:
        leader = self.leader()
        if leader:
            heir = self.rng.choice(list(self.hosts))
            self.note("transfer", leader.id, "to", heir)
            leader.act(lambda node: node.transfer_leader(heir))

    def do_compact(self) -> None:
        self.rng.choice(list(self.hosts.values())).take_snapshot(self.rng)

    def do_read(self) -> None:
        self.rng.choice(list(self.hosts.values())).read()


def main() -> None:
    parser = argparse.ArgumentParser(description="Run the simulated world of one seed, or of many.")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int, default=1, help="how many seeds, from --seed on")
    parser.add_argument("--nodes", type=int, default=5)
    parser.add_argument("--duration", type=int, default=DURATION)
    parser.add_argument("--without", default="", help="hazards that stay away, with commas between them")
    parser.add_argument("--trace", action="store_true", help="print what happened last before a law broke")
    args = parser.parse_args()
    without = tuple(filter(None, args.without.split(",")))
    for seed in range(args.seed, args.seed + args.count):
        world = RaftSimulation(seed, args.nodes, without=without, trace=400 if args.trace else 60)
        try:
            world.run(args.duration)
        except InvariantViolatedError:
            if args.trace:
                print("\n".join(" ".join(map(str, line)) for line in world.trace))
            raise
        laws = world.laws
        print(
            f"seed {seed}: {world.steps} steps, {laws.max_committed} committed, {len(laws.acknowledged)} acknowledged, "
            f"{laws.reads} reads, {len(laws.leaders)} leaders"
        )


if __name__ == "__main__":
    main()
