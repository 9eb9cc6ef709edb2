"""Translation of differences of network state to JSON. Pure."""

from collections.abc import Iterable
from typing import Any

from agent.network.plan.difference_text import DifferenceText
from agent.network.plan.dropped_packets import DroppedPackets
from engine.control_client import NodeNetworkCheck


def differences_json(differences: Iterable[DifferenceText]) -> list[dict[str, Any]]:
    return [
        {"Namespace": one.namespace, "Kind": one.kind, "Item": one.item, "Wanted": one.wanted, "Found": one.found}
        for one in differences
    ]


def dropped_json(dropped: DroppedPackets) -> dict[str, int]:
    return {"NotFromMembers": dropped.strangers, "UnknownNetworks": dropped.unknown}


def node_checks_json(checks: Iterable[NodeNetworkCheck]) -> list[dict[str, Any]]:
    """The checks of the nodes. ``Error`` says why a node did not answer; ``Omitted`` counts differences that are not listed."""
    return [
        {
            "ID": one.node_id,
            "Hostname": one.hostname,
            "Error": one.error,
            "Differences": differences_json(one.differences),
            "Remaining": differences_json(one.remaining),
            "Omitted": one.omitted,
            "DroppedPackets": dropped_json(one.dropped),
        }
        for one in checks
    ]
