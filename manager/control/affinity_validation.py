"""Affinities of services that can never all be met: contradictions, and services that wait for each other. Pure.

A service that does not exist may be named: its tasks are waited for, so that a stack can be deployed in any order.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from covey.errors import InvalidArgumentError
from covey.objects import Affinity, Annotations
from covey.service_options.affinity import AFFINITY_LABEL, aims_at, format_target, label_of
from manager.store import View


class _Wishes(msgspec.Struct, frozen=True):
    """A service with its terms that are not only preferred."""

    service: Annotations
    near: tuple[Affinity, ...]
    apart: tuple[Affinity, ...]

    @classmethod
    def of(cls, service: Annotations, terms: tuple[Affinity, ...]) -> _Wishes:
        hard = [term for term in terms if not term.preferred]
        return cls(
            service, tuple([term for term in hard if not term.apart]), tuple([term for term in hard if term.apart])
        )


def require_satisfiable(view: View, service: Annotations, terms: tuple[Affinity, ...]) -> None:
    """Refuses terms of a service that no placement can meet.

    Raises:
        InvalidArgumentError: the terms contradict each other or those of another service, or services would wait for each other.
    """
    own = _Wishes.of(service, terms)
    if not own.near and not own.apart:
        return
    _require_consistent(own)
    everyone = {item.service.name: item for item in _stored(view)} | {service.name: own}
    for wishes in (own, *everyone.values()):
        if wishes is own or own.apart:
            _require_possible(wishes, everyone, own)
    cycle = _cycle(own, everyone)
    if cycle:
        raise InvalidArgumentError(
            f"label {AFFINITY_LABEL}: services wait for each other: {' -> '.join(cycle)}; "
            "remove one of these affinities, or make it preferred"
        )


def _stored(view: View) -> Iterator[_Wishes]:
    for service in view.services:
        placement = service.spec.task.placement
        yield _Wishes.of(service.spec.annotations, placement.affinities if placement is not None else ())


def _require_consistent(own: _Wishes) -> None:
    """No services that a task must be near and away from."""
    for near in own.near:
        for apart in own.apart:
            same = (near.service, near.label, near.value) == (apart.service, apart.label, apart.value)
            if same and _includes(apart.scope, near.scope):
                raise InvalidArgumentError(
                    f"labels {label_of(near)} and {label_of(apart)}: {format_target(near)} contradicts "
                    f"{format_target(apart)}: give one of them"
                )


def _require_possible(wishes: _Wishes, everyone: dict[str, _Wishes], own: _Wishes) -> None:
    """Each term is left a service that is not kept away in the same place."""
    for term in wishes.near:
        targets = _targets(term, everyone)
        keeping = [found for target in targets if (found := _keeps_away(wishes, target, term.scope))]
        if targets and len(keeping) == len(targets) and own in (wishes, *targets):
            owner, apart = keeping[0]
            raise InvalidArgumentError(
                f"labels {label_of(term)} and {label_of(apart)}: service {wishes.service.name} must be near "
                f"{format_target(term)}, and service {owner.service.name} away from {format_target(apart)}: "
                "remove one of them, or make it preferred"
            )


def _targets(term: Affinity, everyone: dict[str, _Wishes]) -> list[_Wishes]:
    return [wishes for wishes in everyone.values() if aims_at(term, wishes.service)]


def _keeps_away(one: _Wishes, other: _Wishes, scope: str) -> tuple[_Wishes, Affinity] | None:
    """The term of either that keeps the two apart wherever they would be together within the scope."""
    for owner, target in ((one, other), (other, one)):
        for term in owner.apart:
            if aims_at(term, target.service) and _includes(term.scope, scope):
                return owner, term
    return None


def _includes(wide: str, narrow: str) -> bool:
    """Whether two tasks that are together in the narrow scope are so in the wide one."""
    return wide == narrow or not narrow


def _cycle(own: _Wishes, everyone: dict[str, _Wishes]) -> list[str]:
    """The way from the service to services that wait for each other's tasks; empty if its first task can be placed."""
    able: set[str] = set()
    changed = True
    while changed:
        changed = False
        for name, wishes in everyone.items():
            if name not in able and not _waits_for(wishes, everyone, able):
                able.add(name)
                changed = True
    way = [own.service.name]
    while way[-1] not in able:
        way.append(_waits_for(everyone[way[-1]], everyone, able))
        if way[-1] in way[:-1]:
            return way
    return []


def _waits_for(wishes: _Wishes, everyone: dict[str, _Wishes], able: set[str]) -> str:
    """The first service that must have a task before this one can have its first; empty if there is none."""
    for term in wishes.near:
        targets = [item.service.name for item in _targets(term, everyone)]
        if targets and wishes.service.name not in targets and not able.intersection(targets):
            return min(targets)
    return ""
