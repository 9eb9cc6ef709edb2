"""Fault scenario: two membership changes in direct succession while the old majority is slow and then isolated.

A majority of the second membership and one of the original membership may have no member in common. So the scenario
slows the disks of an old majority, which then writes both changes at once, isolates it before it learns that the
first change is committed, and crashes it. If a member is then elected under the original membership, the invariants
detect it. Created by `raft_simulation`, which injects all other faults meanwhile.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from manager.raft.core import ChangeKind, ConfChange, ConfState
from manager.raft.membership import add_change, multi_change
from tests.simulation.simulator.fault_rates import TICK

if TYPE_CHECKING:
    from tests.simulation.simulator.raft_simulation import RaftSimulation
    from tests.simulation.simulator.simulated_manager import SimulatedManager

_ATTEMPTS = 80
"""A change is refused until the one before is applied; so often it is tried before the rush is over."""


class ConsecutiveChanges:
    """One at a time; it proposes by whoever led when it began."""

    def __init__(self, world: RaftSimulation, leader: SimulatedManager) -> None:
        self._world = world
        self._leader = leader
        self._attempts = _ATTEMPTS
        self._slow = 0
        conf = leader.conf
        self._changes = self._two(conf)
        self._apart = self._old_majority(conf)

    def begin(self) -> None:
        world, rng = self._world, self._world.rng
        if not self._changes:
            self._make_ready()
            world.rush = None
            return
        world.note("rush", self._leader.id, *self._changes, "apart", self._apart)
        if self._apart:
            self._slow = rng.choice(self._apart)
            world.hold(self._slow, 20 * TICK)
            deaf = [host for host in self._apart if host != self._slow]
            world.at(world.upto(6 * (world.weather.delay + world.weather.sync)), self._cut_off, deaf)
        self._go_on()

    def _make_ready(self) -> None:
        """Two changes are not to be had: for a later rush hosts begin to learn, or one more comes to vote."""
        world, conf = self._world, self._leader.conf
        fresh = [host for host in world.hosts if host not in conf.voters and host not in conf.learners]
        if fresh:
            self._propose(multi_change([(ChangeKind.ADD_LEARNER, world.member(host)) for host in fresh], ()))
        elif conf.learners:
            self._propose(add_change(ChangeKind.ADD_VOTER, world.member(conf.learners[0])))

    def _two(self, conf: ConfState) -> list[ConfChange]:
        """Learners that become voters, or voters that go; none of them is the leader."""
        world, rng = self._world, self._world.rng
        learners, others = list(conf.learners), [voter for voter in conf.voters if voter != self._leader.id]
        if conf.voters_outgoing:
            return []
        if len(learners) > 1 and (len(others) < 4 or rng.random() < 0.6):
            return [add_change(ChangeKind.ADD_VOTER, world.member(host)) for host in rng.sample(learners, 2)]
        if len(others) > 3:
            return [ConfChange.of(ChangeKind.REMOVE, host) for host in rng.sample(others, 2)]
        return []

    def _old_majority(self, conf: ConfState) -> list[int]:
        """Some of the voters of now, the leader not among them, who decide; without them the later voters can."""
        if not self._changes:
            return []
        touched = [change.changes[0].node for change in self._changes]
        leaving = [host for host in touched if host in conf.voters]
        later = ({*conf.voters} | {*touched}) - {*leaving}
        staying = [host for host in conf.voters if host not in leaving and host != self._leader.id]
        more = max(0, len(conf.voters) // 2 + 1 - len(leaving))
        if more > len(staying):
            return []
        apart = leaving + self._world.rng.sample(staying, more)
        return sorted(apart) if 2 * len(later - {*apart}) > len(later) else []

    def _propose(self, change: ConfChange) -> bool:
        """Whether it is in the leader's log."""
        leader = self._leader
        if not leader.up or leader.stalled_until > self._world.now:
            return False
        before = leader.node._state.pending_conf_index
        leader.act(lambda node: node.propose_conf_change(change))
        return bool(leader.up and leader.node._state.pending_conf_index > before)

    def _go_on(self) -> None:
        """Proposes one after the other; once the last is committed, the old majority falls apart from the rest."""
        world = self._world
        if not self._lasts:
            return
        self._attempts -= 1
        if not self._attempts or not self._leader.leads:
            world.rush = None
        elif self._is_committed():
            world.at(world.upto(world.weather.sync), self._fall_apart)
        else:
            world.at(world.upto(3), self._go_on)

    def _is_committed(self) -> bool:
        """Whether both changes are; proposes the next one if that is not done."""
        world = self._world
        if not self._changes:
            state = self._leader.node._state
            return bool(state.log.committed >= state.pending_conf_index)
        if self._propose(self._changes[0]):
            del self._changes[0]
            if not self._changes and self._slow:
                world.at(world.upto(3 * world.weather.delay), world.release, world.hosts[self._slow])
        return False

    @property
    def _lasts(self) -> bool:
        return self._world.rush is self and not self._world.calm

    def _cut_off(self, some: list[int]) -> None:
        """They hear no leader any more, nor each other."""
        hosts = self._world.hosts
        if self._lasts:
            self._cut({(a, b) for a in hosts for b in hosts if a in some or b in some})

    def _fall_apart(self) -> None:
        """The old majority is among itself; some of it lose power, and are back soon."""
        world = self._world
        if not self._lasts:
            return
        world.rush = None
        apart = {*self._apart}
        world.note("fell apart", self._apart)
        self._cut({(a, b) for a in world.hosts for b in world.hosts if (a in apart) != (b in apart)})
        for host_id in self._apart:
            if world.rng.random() < 0.5:
                world.strike(world.hosts[host_id], back_within=2 * TICK)

    def _cut(self, links: set[tuple[int, int]]) -> None:
        self._world.cut = links
        self._world.at(self._world.upto(40 * TICK), self._heal, links)

    def _heal(self, links: set[tuple[int, int]]) -> None:
        """Unless something else has been cut meanwhile."""
        if self._world.cut is links:
            self._world.cut = set()
