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
"""Limits after the faults end: ticks until there is a leader, and until all members have converged."""

_EVENTS = ("propose", "crash", "stall", "partition", "change", "transfer", "compact", "read", "hold", "double_change")


class RaftSimulation:
    """One run. `steps` counts delivered messages, ticks, disk steps, client actions and faults."""

    def __init__(
        self, seed: int, size: int, rates: FaultRates | None = None, *, without: tuple[str, ...] = (), trace: int = 60
    ) -> None:
        self.seed, self.size, self.without = seed, size, without
        self.rng = random.Random(f"{seed}/{size}")
        self.rates = (rates or FaultRates.random(self.rng)).without(without)
        self.now = 0
        self.steps = 0
        self.faults_ended = False
        self.trace: deque[tuple[object, ...]] = deque(maxlen=trace)
        self.verbose = trace > 60
        self.cut: set[tuple[int, int]] = set()
        self.double_change: ConsecutiveChanges | None = None
        self._queue: list[tuple[int, int, Callable[..., None], tuple[Any, ...]]] = []
        self._count = 0
        self._written = 0
        self._begin(2 if self.rates.change or self.rates.double_change else 0)

    def _begin(self, spare: int) -> None:
        first_members = range(1, self.size + 1)
        self.hosts = {host_id: SimulatedManager(host_id, self) for host_id in range(1, self.size + spare + 1)}
        self.invariants = RaftInvariants(self.hosts, ConfState(voters=tuple(first_members)))
        members = tuple([self.member(host_id) for host_id in first_members])
        begin = bootstrap_snapshot(first_members, store_snapshot.encode(View.empty(), members))
        for host in self.hosts.values():
            host.invariants = self.invariants
            if host.id in first_members:
                host.disk.create_group(begin)
            host.start()
            pace = self.rng.choice((TICK, TICK, TICK - 2, TICK + 3))
            self.at(self.up_to(TICK), self._tick, host, pace)
        for name in _EVENTS:
            self._again(name)

    def member(self, host_id: int) -> Member:
        return Member(raft_id=host_id, node_id=f"node-{host_id}", addr=f"10.0.{self._written % 250}.{host_id}:2378")

    def note(self, *words: object) -> None:
        self.trace.append((self.now, *words))

    # Time.

    def up_to(self, most: int) -> int:
        """A random number from 1 to `most`."""
        return 1 + int(self.rng.random() * most)

    def at(self, delay: int, action: Callable[..., None], *args: Any) -> None:
        self._count += 1
        heapq.heappush(self._queue, (self.now + delay, self._count, action, args))

    def _again(self, name: str) -> None:
        mean = getattr(self.rates, name)
        if mean and not self.faults_ended:
            self.at(self.up_to(2 * mean), self._event, name)

    def _event(self, name: str) -> None:
        if not self.faults_ended:
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
        """Runs with faults, then without, when the cluster must work again. Raises InvariantViolatedError."""
        try:
            self.advance_to(duration)
            self.recover()
        except InvariantViolatedError as error:
            raise InvariantViolatedError(error.invariant, self._report(error)) from error
        except Exception as error:  # any exception would end the manager
            raise InvariantViolatedError("no manager stops by itself", self._report(error)) from error
        return self

    def _report(self, error: Exception) -> str:
        without = f" --without {','.join(self.without)}" if self.without else ""
        return (
            f"{type(error).__name__}: {error}\n  at time {self.now}, step {self.steps}; repeat with:\n"
            f"  python -m tests.simulation.simulator.raft_simulation --seed {self.seed} --nodes {self.size}{without} --trace"
        )

    def recover(self) -> None:
        """Liveness: when all hosts are up and the network is healthy, a leader appears soon, and a write reaches every member."""
        self.faults_ended = True
        self.cut.clear()
        self.rates = self.rates.no_faults()
        for host in self.hosts.values():
            host.stalled_until = 0
            self.release(host)
            if not host.up:
                host.start()
        goal, begin = 0, self.now
        # Without pre-vote a removed node that does not know of its removal may disturb elections for a while.
        limit = (LEADER_TICKS if self.rates.pre_vote else WORK_TICKS) * TICK
        led_at = self.now
        while self.now < begin + WORK_TICKS * TICK:
            self.advance_to(self.now + TICK)
            leader = self.leader()
            led_at = self.now if leader else led_at
            require(self.now - led_at < limit, "liveness", f"no leader for {self.now - led_at} after the faults ended")
            if leader and leader.conf.voters_outgoing and not leader.conf.auto_leave:
                leader.act(lambda node: node.propose_conf_change(ConfChange()))
            elif leader and not leader.conf.voters_outgoing:
                goal = goal or self.invariants.max_committed + 1
                self.do_propose()
                if all(member.applied >= goal for member in self._members_of(leader)):
                    self._settle()
                    return
        require(
            False,
            "liveness",
            f"nothing past {self.invariants.max_committed} reached all members after the faults ended: {self._reach()}",
        )

    def _members_of(self, leader: SimulatedManager) -> list[SimulatedManager]:
        conf = leader.conf
        return [self.hosts[member] for member in sorted({*conf.voters, *conf.learners, *conf.voters_outgoing})]

    def _reach(self) -> dict[int, tuple[object, ...]]:
        return {h.id: (h.node.status().role.name, h.node.status().term, h.applied) for h in self.hosts.values()}

    def _settle(self) -> None:
        """Without new clients, all pending ones get their answer, and all members come to hold the same state."""
        deadline = self.now + WORK_TICKS * TICK
        while self.now < deadline:
            self.advance_to(self.now + TICK)
            leader = self.leader()
            members = self._members_of(leader) if leader else []
            if members and {(m.applied, m.clients) for m in members} == {(self.invariants.max_committed, 0)}:
                for member in members:
                    self.invariants.check_nothing_lost(member)
                return
        require(False, "liveness", f"members differ after {WORK_TICKS} idle ticks: {self._reach()}")

    # Hosts.

    def _tick(self, host: SimulatedManager, pace: int) -> None:
        self.at(TICK if self.faults_ended else pace, self._tick, host, pace)
        if host.up and host.stalled_until <= self.now:
            self.steps += 1
            host.tick()

    def after_sync_delay(self, host: SimulatedManager, action: Callable[..., None], *args: Any) -> None:
        """Schedules the next step of a disk; it is dropped if the host crashes before."""
        self.at(self.up_to(self.rates.sync), self._disk_step, host, host.epoch, action, args)

    def after_apply_delay(self, host: SimulatedManager, action: Callable[..., None], *args: Any) -> None:
        """Schedules the end of applying; it is dropped if the host crashes before."""
        self.at(self.up_to(self.rates.apply), self._host_step, host, host.epoch, action, args)

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
        self.invariants.message_sent(message)
        if self.verbose:
            self.note("send", message)
        rates, rng = self.rates, self.rng
        if rng.random() < rates.drop or (message.from_, message.to) in self.cut:
            if message.kind is MessageKind.SNAPSHOT:
                self.at(TICK, self._report_snapshot, message, False)
            elif rng.random() < 0.2:
                self.at(1, self.hosts[message.from_].act, lambda node: node.report_unreachable(message.to))
            return
        if message.snapshot:
            full = self.hosts[message.from_].disk.load(message.snapshot.metadata.index)
            message = msgspec.structs.replace(message, snapshot=full)
        for _ in range(2 if rng.random() < rates.duplicate else 1):
            delay = self.up_to(rates.delay)
            if rng.random() < 0.02 and not self.faults_ended:
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
        """A client writes at every manager that believes it leads."""
        for host in self.hosts.values():
            if host.leads and host.stalled_until <= self.now:
                self._written += 1
                host.propose(self._written, self.rng)

    def do_crash(self) -> None:
        """Crashes mostly the leader, whose log is ahead, or a host that saves a snapshot; sometimes all hosts."""
        roll = self.rng.random()
        hosts = list(self.hosts.values())
        saving = [host for host in hosts if host.up and host.is_saving_snapshot] if roll < 0.4 else []
        leader = self.leader() if roll < 0.6 else None
        victims = [self.rng.choice(saving) if saving else leader or self.rng.choice(hosts)]
        if roll > 0.95:
            victims = hosts
        for host in victims:
            self.power_off(host, restart_within=2 * self.rates.down)

    def power_off(self, host: SimulatedManager, *, restart_within: int) -> None:
        """Crashes a host and restarts it within a time."""
        if host.up:
            host.crash()
            self._break_connections(host.id)
            self.at(self.up_to(restart_within), self._start_again, host)

    def _break_connections(self, end: int) -> None:
        """Other hosts see the connection to a host break, perhaps only when it is back."""
        for host in self.hosts.values():
            if host.id != end and self.rng.random() < 0.7:
                self.at(self.up_to(2 * self.rates.delay), host.act, lambda node: node.suspect_leader(end))

    def _start_again(self, host: SimulatedManager) -> None:
        if not host.up:
            self.steps += 1
            host.start()

    def do_stall(self) -> None:
        """Pauses a host for a while (SIGSTOP, suspended VM); afterwards it is not aware of the pause."""
        host = self.leader() if self.rng.random() < 0.5 else self.rng.choice(list(self.hosts.values()))
        if host:
            host.stalled_until = self.now + self.up_to(40 * TICK)
            self.note("stall", host.id, "until", host.stalled_until)

    def do_hold(self) -> None:
        """Delays a disk for a while; what arrives meanwhile is written at once."""
        self.hold(self.rng.choice(list(self.hosts)), self.up_to(20 * TICK))

    def hold(self, host_id: int, duration: int) -> None:
        host = self.hosts[host_id]
        host.held_until = self.now + duration
        self.note("hold", host_id, "until", host.held_until)
        self.at(duration, self._hold_ends, host)

    def _hold_ends(self, host: SimulatedManager) -> None:
        if host.held_until <= self.now:
            self.release(host)

    def release(self, host: SimulatedManager) -> None:
        """Lets a delayed disk continue."""
        host.held_until = 0
        held, host.held = host.held, []
        for step in held:
            self.at(1, self._disk_step, host, *step)

    def do_partition(self) -> None:
        """Splits the hosts in two, or cuts some links in one direction, or heals all links."""
        ids = list(self.hosts)
        self.cut.clear()
        roll = self.rng.random()
        if roll < 0.5:
            side = set(self.rng.sample(ids, self.rng.randint(1, len(ids) - 1)))
            self.cut = {(a, b) for a in ids for b in ids if (a in side) != (b in side)}
        elif roll < 0.7:
            self.cut = {(self.rng.choice(ids), self.rng.choice(ids)) for _ in range(self.size)}
        else:
            self._break_connections(self.rng.choice(ids))  # although the host is alive
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
        """A member's new address, one that joins or leaves, or several at once; the leader may be among them."""
        self._written += 1
        if self.rng.random() < 0.4:
            host_id = self.rng.choice(list(self.hosts))
            kind = ChangeKind.ADD_VOTER if host_id in conf.voters else ChangeKind.ADD_LEARNER
            return add_change(kind, self.member(host_id))
        nodes = self.rng.sample(list(self.hosts), self.rng.choice((1, 1, 1, 2, 3)))
        changes = tuple([SingleChange(self.rng.choice(list(ChangeKind)), node) for node in nodes])
        return ConfChange(changes, transition=self.rng.choice(list(Transition)))

    def do_double_change(self) -> None:
        leader = self.leader()
        if leader and not self.double_change and not self.cut:
            self.double_change = ConsecutiveChanges(self, leader)
            self.double_change.begin()

    def do_transfer(self) -> None:
        leader = self.leader()
        if leader:
            target = self.rng.choice(list(self.hosts))
            self.note("transfer", leader.id, "to", target)
            leader.act(lambda node: node.transfer_leader(target))

    def do_compact(self) -> None:
        self.rng.choice(list(self.hosts.values())).take_snapshot(self.rng)

    def do_read(self) -> None:
        self.rng.choice(list(self.hosts.values())).read()


def main() -> None:
    parser = argparse.ArgumentParser(description="Run the Raft simulation of one seed or of many.")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int, default=1, help="number of seeds, starting at --seed")
    parser.add_argument("--nodes", type=int, default=5)
    parser.add_argument("--duration", type=int, default=DURATION)
    parser.add_argument("--without", default="", help="comma-separated hazards to leave out")
    parser.add_argument("--trace", action="store_true", help="print the last events before an invariant was violated")
    args = parser.parse_args()
    without = tuple(filter(None, args.without.split(",")))
    for seed in range(args.seed, args.seed + args.count):
        simulation = RaftSimulation(seed, args.nodes, without=without, trace=400 if args.trace else 60)
        try:
            simulation.run(args.duration)
        except InvariantViolatedError:
            if args.trace:
                print("\n".join(" ".join(map(str, line)) for line in simulation.trace))
            raise
        invariants = simulation.invariants
        print(
            f"seed {seed}: {simulation.steps} steps, {invariants.max_committed} committed, {len(invariants.acknowledged)} acknowledged, "
            f"{invariants.reads} reads, {len(invariants.leaders)} leaders"
        )


if __name__ == "__main__":
    main()
