"""Domains: how many tasks of each service should run on the nodes that have one value of a label, and what services want near or away.

A domain of a scope is a node (empty scope), or all nodes with one value of a label such as ``node.labels.zone``. A node without the label
is in none.

Invariant: the counts are those of the tasks in the load of the nodes. A scope is counted when it is first asked for, and kept from
then on. Makes no decision.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Protocol

import msgspec

from covey.objects import Affinity, Annotations, Node
from covey.service_options.affinity import aims_at
from manager.constraints import label_value
from manager.store.view import View

_NOWHERE: Mapping[str, int] = {}


class TaskCounts(Protocol):
    """A node with its tasks that should run, by service."""

    @property
    def node(self) -> Node | None: ...

    @property
    def active_by_service(self) -> Mapping[str, int]: ...


class ServiceFacts(msgspec.Struct, frozen=True):
    """What other services' terms see of a service, and the services that its own tasks must be kept away from."""

    service: Annotations
    apart: tuple[Affinity, ...]


class Domains:
    """Counts of tasks that should run, by scope, domain and service."""

    def __init__(self, loads: Mapping[str, TaskCounts]) -> None:
        self._loads = loads
        self._counts: dict[str, dict[str, dict[str, int]]] = {}
        self._zones: dict[tuple[str, Hashable, Hashable], tuple[str, ...]] = {}
        self._totals: dict[str, int] = {}
        self._services: dict[str, ServiceFacts] = {}
        self._targets: dict[Affinity, tuple[str, ...]] = {}
        self._keeping_away: dict[str, tuple[tuple[str, Affinity], ...]] = {}

    def sync_services(self, view: View, ids: Iterable[str]) -> bool:
        """Makes what is known of the services equal to the view. Returns whether that may change the answer of a filter."""
        changed = False
        for service_id in ids:
            service = view.services.get(service_id)
            before, now = self._services.get(service_id), None
            if service is not None:
                placement = service.spec.task.placement
                terms = placement.affinities if placement is not None else ()
                hard = tuple([term for term in terms if term.apart and not term.preferred])
                now = self._services[service_id] = ServiceFacts(service.spec.annotations, hard)
            else:
                self._services.pop(service_id, None)
            changed = changed or before != now
        if changed:
            self._targets.clear()
            self._keeping_away.clear()
        return changed

    def forget_counts(self) -> None:
        """Counts anew when asked: a node came, went or changed."""
        self._counts.clear()
        self._zones.clear()

    def record(self, node: Node | None, service_id: str, sign: int) -> None:
        """Counts a task that should run (``sign`` 1), or one that no longer should (-1)."""
        self._totals[service_id] = self._totals.get(service_id, 0) + sign
        for scope, of_scope in self._counts.items():
            value = domain_of(scope, node)
            if value:
                counts = of_scope.setdefault(value, {})
                counts[service_id] = counts.get(service_id, 0) + sign

    def tasks_near(self, scope: str, load: TaskCounts) -> Mapping[str, int] | None:
        """The tasks by service in the node's domain; None if the node is in none."""
        if not scope:
            return load.active_by_service
        value = domain_of(scope, load.node)
        return self.by_domain(scope).get(value, _NOWHERE) if value else None

    def by_domain(self, scope: str) -> Mapping[str, Mapping[str, int]]:
        """The tasks by domain of a label and service, of domains that have or had any."""
        found = self._counts.get(scope)
        if found is None:
            found = self._counts[scope] = {}
            for load in self._loads.values():
                value = domain_of(scope, load.node)
                for service_id, number in load.active_by_service.items() if value else ():
                    counts = found.setdefault(value, {})
                    counts[service_id] = counts.get(service_id, 0) + number
        return found

    def zones(self, key: tuple[str, Hashable, Hashable], counts: Callable[[Node], bool]) -> tuple[str, ...]:
        """The domains of the nodes that count, in order. ``key`` begins with the scope, and determines which nodes count."""
        found = self._zones.get(key)
        if found is None:
            nodes = [load.node for load in self._loads.values() if load.node is not None and counts(load.node)]
            found = tuple(sorted({domain_of(key[0], node) for node in nodes} - {""}))
            self._zones[key] = found
        return found

    def exists_anywhere(self, services: Iterable[str]) -> bool:
        """Whether a task of one of the services should run on some node."""
        return any(self._totals.get(service_id, 0) > 0 for service_id in services)

    def targets(self, term: Affinity) -> tuple[str, ...]:
        """The ids of the services that a term is about, in order."""
        found = self._targets.get(term)
        if found is None:
            services = self._services.items()
            found = tuple(sorted([service_id for service_id, facts in services if aims_at(term, facts.service)]))
            self._targets[term] = found
        return found

    def keeping_away(self, service_id: str) -> tuple[tuple[str, Affinity], ...]:
        """The other services whose tasks must not be near this one's, with their terms."""
        found = self._keeping_away.get(service_id)
        facts = self._services.get(service_id)
        if found is None:
            found = tuple(
                [
                    (other_id, term)
                    for other_id, other in sorted(self._services.items())
                    for term in other.apart
                    if other_id != service_id and facts is not None and aims_at(term, facts.service)
                ]
            )
            self._keeping_away[service_id] = found
        return found

    def name(self, service_id: str) -> str:
        facts = self._services.get(service_id)
        return facts.service.name if facts is not None else service_id


def domain_of(scope: str, node: Node | None) -> str:
    """The node's domain; empty if it is in none."""
    if node is None:
        return ""
    return label_value(scope, node) if scope else node.id
