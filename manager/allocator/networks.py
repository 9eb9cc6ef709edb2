"""Allocation of networks: subnets and VXLAN ids. Called by ``allocation``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from covey.network_options import requested_vni
from covey.objects import Cluster, Network, replace
from covey.states import NodeState
from manager.allocator import subnets
from manager.allocator.index import AllocationIndex
from manager.loop import Step
from manager.store.view import View

FIRST_VNI, LAST_VNI = 4096, (1 << 24) - 1


def plan_networks(view: View, index: AllocationIndex, networks: Sequence[Network]) -> tuple[list[Step], list[str]]:
    """What makes the networks usable, and the ids of those for which no subnet or VXLAN id is free."""
    waiting = [network for network in networks if not network.usable and not waits_for_nodes(view, network)]
    local = [network for network in waiting if network.node_local]
    overlays = [network for network in waiting if not network.node_local]
    steps = [Step(updates=(replace(network, ipam=network.spec.ipam, allocated=True),)) for network in local]
    blocked: list[str] = []
    if not overlays:
        return steps, blocked
    cluster = next(iter(view.clusters), None) or Cluster(id="default")
    routes = subnets.node_routes(view)
    wanted = {network.id: _requested_vni(network) for network in overlays}
    used = {*index.vnis.values(), *wanted.values()}
    vnis = _free_vnis(used, max(index.highest_vni, *wanted.values()))
    for network in overlays:
        ipam = subnets.complete_ipam(network.spec, index.subnets, cluster, routes)
        vni = wanted[network.id] or next(vnis, None)
        if ipam is None or vni is None:
            blocked.append(network.id)
            continue
        index.subnets.set(network.id, [config.subnet for config in ipam.configs])
        steps.append(Step(updates=(replace(network, ipam=ipam, vni=vni, allocated=True),)))
    return steps, blocked


def waits_for_nodes(view: View, network: Network) -> bool:
    """Whether the ingress network of a new cluster still waits for a node that says which routes its host has."""
    if network.usable or not network.spec.ingress or not len(view.nodes):
        return False
    return all(node.status.state is NodeState.UNKNOWN for node in view.nodes)


def _requested_vni(network: Network) -> int:
    """The VXLAN id in the network's options, which the control API has checked; 0 for none."""
    return requested_vni(network.spec.annotations.name, network.spec.driver.options)


def _free_vnis(used: set[int], highest: int) -> Iterator[int]:
    """Free VXLAN ids: first those above the highest that was ever used, so that a freed id is not reused soon."""
    highest = max(highest, FIRST_VNI - 1)
    yield from range(highest + 1, LAST_VNI + 1)
    for vni in range(FIRST_VNI, highest):
        if vni not in used:
            yield vni
