"""Default networks of a cluster: the ingress network, and the predefined networks of every node that services may name.

Invariant: they are created once per cluster. A user may remove the ingress network for good. Run by ``manager.leader``; a cluster of an
earlier version gets them from its first leader of this version.
"""

from __future__ import annotations

from collections.abc import Iterable

from covey.ids import IdSource
from covey.network_options import PREDEFINED_LABEL
from covey.objects import Annotations, Cluster, Driver, Network, NetworkSpec, Object, replace
from manager.loop import KeyedPlanner, Plan, Step
from manager.store.view import View

INGRESS_NAME = "ingress"
PREDEFINED_DRIVERS = ("bridge", "host")


class DefaultNetworksPlanner(KeyedPlanner[str]):
    """Creates the networks in one step with the flag that says so."""

    def __init__(self, new_id: IdSource) -> None:
        super().__init__()
        self._new_id = new_id

    def all_keys(self, view: View) -> Iterable[str]:
        return [cluster.id for cluster in view.clusters]

    def keys_of(self, before: Object | None, after: Object | None) -> Iterable[str]:
        del before
        return (after.id,) if isinstance(after, Cluster) and not after.default_networks else ()

    def plan_key(self, view: View, key: str, now_ns: int) -> Plan:
        del now_ns
        cluster = view.clusters.get(key)
        if cluster is None or cluster.default_networks:
            return Plan()
        found = [_predefined(name) for name in PREDEFINED_DRIVERS if view.networks.by_name(name) is None]
        if view.networks.ingress() is None and view.networks.by_name(INGRESS_NAME) is None:
            found.append(NetworkSpec(annotations=Annotations(name=INGRESS_NAME), ipv6=True, ingress=True))
        networks = tuple([Network(id=self._new_id(), spec=spec) for spec in found])
        return Plan((Step(creates=networks, updates=(replace(cluster, default_networks=True),)),))


def _predefined(name: str) -> NetworkSpec:
    return NetworkSpec(annotations=Annotations(name=name, labels={PREDEFINED_LABEL: "true"}), driver=Driver(name=name))
