"""Translation of differences of network state to JSON. Pure."""

from collections.abc import Iterable
from typing import Any

from agent.network.plan.difference_text import DifferenceText


def differences_json(differences: Iterable[DifferenceText]) -> list[dict[str, Any]]:
    return [
        {"Namespace": one.namespace, "Kind": one.kind, "Item": one.item, "Wanted": one.wanted, "Found": one.found}
        for one in differences
    ]
