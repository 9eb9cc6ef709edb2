"""Filter: the reservations of all tasks that have not ended, with this one, fit the node's resources. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from covey.generic_resources import kind_of
from covey.objects import Node, ResourceRequirements, Resources, replace
from covey.quantities import NANO, floor_size, parse_bytes
from manager.scheduler.filter import Change, Filter, WaitingTask
from manager.scheduler.generic_resources import wants_any
from manager.scheduler.node_load import NodeLoad
from manager.scheduler.request import PlacementRequest

_MIN_MEMORY_BYTES = 4 << 20
_MIN_NANO_CPUS = 10**7


class Shortage(msgspec.Struct, frozen=True):
    """What a node lacks of one resource: ``cpus`` in billionths, ``memory`` in bytes, or the number of a generic kind."""

    kind: str
    needed: int
    free: int

    def shown(self, amount: int) -> str:
        if self.kind == "memory":
            return floor_size(amount)
        return f"{amount / NANO:.2f}".rstrip("0").rstrip(".") if self.kind == "cpus" else str(amount)


class ResourceFilter(Filter):
    name = "resources"
    sentence = "insufficient resources on {}"

    def passes(self, request: PlacementRequest, node: Node, load: NodeLoad) -> bool:
        reserved, available = request.reserved, node.description.resources
        if reserved.nano_cpus and load.nano_cpus + reserved.nano_cpus > available.nano_cpus:
            return False
        if reserved.memory_bytes and load.memory_bytes + reserved.memory_bytes > available.memory_bytes:
            return False
        return not wants_any(reserved) or load.claim(reserved) is not None

    def detail(self, request: PlacementRequest, refused: Sequence[NodeLoad]) -> str:
        found = [item for load in refused for item in shortages(request.reserved, load)]
        parts = []
        for kind in dict.fromkeys(item.kind for item in found):
            most = max((item for item in found if item.kind == kind), key=lambda item: item.free)
            parts.append(f"{_amount(most, most.needed)} (most free {most.shown(most.free)})")
        return f"needs {', '.join(parts)}" if parts else ""

    def changes(self, waiting: WaitingTask, refused: Sequence[NodeLoad]) -> Iterable[Change]:
        best: dict[str, Shortage] = {}
        for load in refused:
            found = shortages(waiting.request.reserved, load)
            if len(found) == 1 and (found[0].kind not in best or found[0].free > best[found[0].kind].free):
                best[found[0].kind] = found[0]
        for shortage in best.values():
            yield from _lowered(waiting, shortage)


def shortages(wanted: Resources, load: NodeLoad) -> list[Shortage]:
    """The resources of which the node has less free than wanted."""
    available = load.node.description.resources if load.node is not None else Resources()
    amounts = [
        Shortage("cpus", wanted.nano_cpus, available.nano_cpus - load.nano_cpus),
        Shortage("memory", wanted.memory_bytes, available.memory_bytes - load.memory_bytes),
    ]
    found = [_without_debt(item) for item in amounts if item.needed and item.free < item.needed]
    return [*found, *_generic_shortages(wanted, available, load)]


def _without_debt(shortage: Shortage) -> Shortage:
    """A node that lost resources has none free, not less than none."""
    return msgspec.structs.replace(shortage, free=max(0, shortage.free))


def _generic_shortages(wanted: Resources, available: Resources, load: NodeLoad) -> list[Shortage]:
    names = [item for item in wanted.named_generic if item not in available.named_generic or item in load.named_generic]
    found = [Shortage(item, 1, 0) for item in names]
    for kind, number in wanted.generic.items():
        free = _free_of_kind(kind, wanted, available, load)
        if free < number:
            found.append(Shortage(kind, number, max(0, free)))
    return found


def _free_of_kind(kind: str, wanted: Resources, available: Resources, load: NodeLoad) -> int:
    names = [item for item in available.named_generic if kind_of(item) == kind]
    free = [item for item in names if item not in load.named_generic and item not in wanted.named_generic]
    return (len(free) if names else available.generic.get(kind, 0)) - load.generic.get(kind, 0)


def _amount(shortage: Shortage, amount: int) -> str:
    match shortage.kind:
        case "memory":
            return f"{shortage.shown(amount)} memory"
        case "cpus":
            return f"{shortage.shown(amount)} CPU{'' if amount == NANO else 's'}"
        case kind:
            return kind if "=" in kind else f"{kind}={amount}"


def _lowered(waiting: WaitingTask, shortage: Shortage) -> Iterable[Change]:
    """The change of the reservation to what is free; no reservation if that is too little for one."""
    name = waiting.service_name
    wanted, free = waiting.request.reserved, shortage.free
    match shortage.kind:
        case "memory":
            kept = _floored_memory(free)
            yield _reserving(
                waiting,
                replace(wanted, memory_bytes=kept),
                f"lower the reserved memory to {floor_size(kept)}" if kept else "reserve no memory",
                f"covey service update --reserve-memory {floor_size(kept) if kept else 0} {name}",
            )
        case "cpus":
            kept = free - free % _MIN_NANO_CPUS
            shown = shortage.shown(kept)
            yield _reserving(
                waiting,
                replace(wanted, nano_cpus=kept),
                f"lower the reserved CPUs to {shown}" if kept else "reserve no CPUs",
                f"covey service update --reserve-cpu {shown} {name}",
            )
        case kind if kind in wanted.generic:
            generic = {key: number for key, number in wanted.generic.items() if key != kind}
            add = ""
            if free:
                generic[kind] = free
                add = f" --generic-resource-add {kind}={free}"
            yield _reserving(
                waiting,
                replace(wanted, generic=generic),
                f"lower the reserved {kind} to {free}" if free else f"reserve no {kind}",
                f"covey service update --generic-resource-rm {kind}{add} {name}",
            )
        case item:
            named = tuple([each for each in wanted.named_generic if each != item])
            yield _reserving(waiting, replace(wanted, named_generic=named), f"do not reserve {item}", "")


def _floored_memory(free: int) -> int:
    """The largest amount up to ``free`` that people can write; 0 below the least that can be reserved."""
    return parse_bytes(floor_size(free)) if free >= _MIN_MEMORY_BYTES else 0


def _reserving(waiting: WaitingTask, reserved: Resources, text: str, command: str) -> Change:
    spec = waiting.task.spec
    resources = replace(spec.resources or ResourceRequirements(), reservations=reserved)
    return Change(text=text, command=command, task=replace(waiting.task, spec=replace(spec, resources=resources)))
