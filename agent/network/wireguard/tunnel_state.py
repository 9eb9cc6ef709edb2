"""Encrypted networks and their nodes as this host knows them, and what follows for its tunnels. Pure."""

from __future__ import annotations

import msgspec

from agent.network.model import NetworkChanges
from agent.network.plan.encryption import TunnelPeer, node_address
from covey.objects.assignment import NodeEndpoint


class TunnelState:
    """One per daemon."""

    def __init__(self) -> None:
        self.vnis: dict[str, int] = {}
        """The VXLAN ids of the encrypted networks on this host."""
        self._nodes: dict[str, NodeEndpoint] = {}

    def apply(self, changes: NetworkChanges) -> None:
        for network_id in changes.removed_networks:
            self.vnis.pop(network_id, None)
        known = (*changes.networks, *changes.ingress)
        self.vnis.update({network.id: network.vni for network in known if network.encrypted})
        for key in changes.removed_nodes:
            self._nodes.pop(key, None)
        self._nodes.update({node.id: node for node in changes.nodes})

    def own_id(self, host: str) -> str:
        """This node's id; its underlay address tells which one it is. "" before the managers named it."""
        return next((node.node_id for node in self._on_encrypted() if node.host == host), "")

    def own_key(self, host: str) -> str:
        """The public key of this node of which the managers tell the others."""
        own = (node.wireguard for node in self._on_encrypted() if node.host == host)
        return next((found.public_key for found in own if found is not None), "")

    def peers(self, host: str) -> dict[str, TunnelPeer]:
        """The other nodes that encrypt, by id."""
        found = {}
        for node in self._on_encrypted():
            if node.host and node.host != host and node.wireguard is not None and node.wireguard.public_key:
                found[node.node_id] = TunnelPeer(
                    node_id=node.node_id,
                    host=node.host,
                    public_key=node.wireguard.public_key,
                    port=node.wireguard.port,
                    previous_key=node.wireguard.previous_public_key,
                )
        return found

    def through_tunnels(self, changes: NetworkChanges, host: str) -> NetworkChanges:
        """The changes with others' endpoints on encrypted networks at their nodes' addresses inside the tunnels."""
        endpoints = tuple(
            msgspec.structs.replace(each, host=node_address(each.node_id))
            if each.network_id in self.vnis and each.host not in {"", host}
            else each
            for each in changes.endpoints
        )
        return msgspec.structs.replace(changes, endpoints=endpoints)

    def _on_encrypted(self) -> list[NodeEndpoint]:
        return [node for node in self._nodes.values() if node.network_id in self.vnis]
