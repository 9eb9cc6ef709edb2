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
"""Number of attempts: a change is refused until the previous one is applied."""


class ConsecutiveChanges:
    """One instance at a time; the manager that led at the start proposes the changes."""

    def __init__(self, simulation: RaftSimulation, leader: SimulatedManager) -> None:
        self._world = simulation
        self._leader = leader
        self._attempts = _ATTEMPTS
        self._slow = 0
        conf = leader.conf
        self._changes = self._two_changes(conf)
        self._isolated = self._old_majority(conf)

    def begin(self) -> None:
        simulation, rng = self._world, self._world.rng
        if not self._changes:
            self._prepare_members()
            simulation.double_change = None
            return
        simulation.note("double_change", self._leader.id, *self._changes, "isolated", self._isolated)
        if self._isolated:
            self._slow = rng.choice(self._isolated)
            simulation.hold(self._slow, 20 * TICK)
            cut_off = [host for host in self._isolated if host != self._slow]
            simulation.at(
                simulation.up_to(6 * (simulation.rates.delay + simulation.rates.sync)), self._isolate, cut_off
            )
        self._advance()

    def _prepare_members(self) -> None:
        """Two changes are not possible now. Adds learners, or promotes one, for a later attempt."""
        simulation, conf = self._world, self._leader.conf
        fresh = [host for host in simulation.hosts if host not in conf.voters and host not in conf.learners]
        if fresh:
            self._propose(multi_change([(ChangeKind.ADD_LEARNER, simulation.member(host)) for host in fresh], ()))
        elif conf.learners:
            self._propose(add_change(ChangeKind.ADD_VOTER, simulation.member(conf.learners[0])))

    def _two_changes(self, conf: ConfState) -> list[ConfChange]:
        """Promotions of two learners, or removals of two voters other than the leader."""
        simulation, rng = self._world, self._world.rng
        learners, others = list(conf.learners), [voter for voter in conf.voters if voter != self._leader.id]
        if conf.voters_outgoing:
            return []
        if len(learners) > 1 and (len(others) < 4 or rng.random() < 0.6):
            return [add_change(ChangeKind.ADD_VOTER, simulation.member(host)) for host in rng.sample(learners, 2)]
        if len(others) > 3:
            return [ConfChange.of(ChangeKind.REMOVE, host) for host in rng.sample(others, 2)]
        return []

    def _old_majority(self, conf: ConfState) -> list[int]:
        """A majority of the present voters without the leader that leaves a majority of the later voters outside; else empty."""
        if not self._changes:
            return []
        touched = [change.changes[0].node for change in self._changes]
        leaving = [host for host in touched if host in conf.voters]
        later = ({*conf.voters} | {*touched}) - {*leaving}
        staying = [host for host in conf.voters if host not in leaving and host != self._leader.id]
        more = max(0, len(conf.voters) // 2 + 1 - len(leaving))
        if more > len(staying):
            return []
        isolated = leaving + self._world.rng.sample(staying, more)
        return sorted(isolated) if 2 * len(later - {*isolated}) > len(later) else []

    def _propose(self, change: ConfChange) -> bool:
        """Whether the leader accepted the change."""
        leader = self._leader
        if not leader.up or leader.stalled_until > self._world.now:
            return False
        before = leader.node._state.pending_conf_index
        leader.act(lambda node: node.propose_conf_change(change))
        return bool(leader.up and leader.node._state.pending_conf_index > before)

    def _advance(self) -> None:
        """Proposes one change after the other. When the last one is committed, isolates the old majority."""
        simulation = self._world
        if not self._is_active:
            return
        self._attempts -= 1
        if not self._attempts or not self._leader.leads:
            simulation.double_change = None
        elif self._is_committed():
            simulation.at(simulation.up_to(simulation.rates.sync), self._isolate_old_majority)
        else:
            simulation.at(simulation.up_to(3), self._advance)

    def _is_committed(self) -> bool:
        """Whether both changes are committed; proposes the next one otherwise."""
        simulation = self._world
        if not self._changes:
            state = self._leader.node._state
            return bool(state.log.committed >= state.pending_conf_index)
        if self._propose(self._changes[0]):
            del self._changes[0]
            if not self._changes and self._slow:
                simulation.at(
                    simulation.up_to(3 * simulation.rates.delay), simulation.release, simulation.hosts[self._slow]
                )
        return False

    @property
    def _is_active(self) -> bool:
        return self._world.double_change is self and not self._world.faults_ended

    def _isolate(self, some: list[int]) -> None:
        """Cuts all links of these hosts, also between them."""
        hosts = self._world.hosts
        if self._is_active:
            self._cut({(a, b) for a in hosts for b in hosts if a in some or b in some})

    def _isolate_old_majority(self) -> None:
        """Leaves the old majority to itself; some of its hosts lose power and restart soon."""
        simulation = self._world
        if not self._is_active:
            return
        simulation.double_change = None
        isolated = {*self._isolated}
        simulation.note("isolated", self._isolated)
        self._cut({(a, b) for a in simulation.hosts for b in simulation.hosts if (a in isolated) != (b in isolated)})
        for host_id in self._isolated:
            if simulation.rng.random() < 0.5:
                simulation.power_off(simulation.hosts[host_id], restart_within=2 * TICK)

    def _cut(self, links: set[tuple[int, int]]) -> None:
        self._world.cut = links
        self._world.at(self._world.up_to(40 * TICK), self._heal, links)

    def _heal(self, links: set[tuple[int, int]]) -> None:
        """Restores the links, unless other links were cut meanwhile."""
        if self._world.cut is links:
            self._world.cut = set()
