"""Placement requests: the requirements that a group of equal tasks has for a node. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from covey.log_driver import NONE
from covey.network_options import is_encrypted
from covey.objects import Network, Placement, Resources, Task
from manager.constraints import Constraint, parse_constraints
from manager.scheduler.node_load import host_ports, reservation
from manager.service_ports import HostPort
from manager.store.table import Table


class PlacementRequest(msgspec.Struct, frozen=True):
    """Requirements that a group of equal tasks has for a node."""

    service_id: str
    constraints: tuple[Constraint, ...]
    placement: Placement
    reserved: Resources
    ports: tuple[HostPort, ...]
    encrypted: bool = False
    """Whether one of the task's networks is encrypted."""
    plugins: frozenset[str] = frozenset()
    """``TYPE/NAME`` of the drivers that the task needs."""

    @classmethod
    def for_task(cls, task: Task, networks: Table[Network]) -> PlacementRequest:
        placement = task.spec.placement or Placement()
        joined = [networks.get(attachment.network_id) for attachment in task.networks]
        return cls(
            service_id=task.service_id,
            constraints=parse_constraints(placement.constraints),
            placement=placement,
            reserved=reservation(task) or Resources(),
            ports=host_ports(task),
            encrypted=any(network is not None and is_encrypted(network.spec.driver.options) for network in joined),
            plugins=frozenset(_needed_plugins(task, joined)),
        )


def _needed_plugins(task: Task, networks: Iterable[Network | None]) -> Iterator[str]:
    log_driver = task.spec.log_driver or task.log_driver
    if log_driver is not None and log_driver.name not in {"", NONE}:
        yield f"Log/{log_driver.name}"
    yield from (f"Network/{network.spec.driver.name}" for network in networks if network and network.spec.driver.name)
    drivers = (mount.volume_driver for mount in task.spec.container.mounts)
    yield from (f"Volume/{driver.name}" for driver in drivers if driver is not None and driver.name)
