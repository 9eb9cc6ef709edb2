"""Table rows of nodes (``covey node ls``)."""

from collections.abc import Mapping
from typing import Any

from cli.format.table import Row, capitalize

HEADERS = {
    "ID": "ID",
    "Self": "",
    "Hostname": "HOSTNAME",
    "Status": "STATUS",
    "Availability": "AVAILABILITY",
    "ManagerStatus": "MANAGER STATUS",
    "TLSStatus": "TLS STATUS",
    "EngineVersion": "ENGINE VERSION",
}
TABLE = (
    "{{.ID}} {{if .Self}}*{{else}} {{ end }}\t{{.Hostname}}\t{{.Status}}\t{{.Availability}}\t{{.ManagerStatus}}"
    "\t{{.EngineVersion}}"
)


def row(node: Mapping[str, Any], own_id: str, root_info: Mapping[str, Any]) -> Row:
    """The row of a node. ``root_info`` is the cluster's TLSInfo; a node with another one has to rotate its certificate."""
    manager = node.get("ManagerStatus") or {}
    return {
        "ID": node["ID"],
        "Self": node["ID"] == own_id,
        "Hostname": node["Description"].get("Hostname", ""),
        "Status": capitalize(node["Status"].get("State", "")),
        "Availability": capitalize(node["Spec"].get("Availability", "")),
        "ManagerStatus": "Leader" if manager.get("Leader") else capitalize(manager.get("Reachability", "")),
        "TLSStatus": _tls_status(node["Description"].get("TLSInfo") or {}, root_info),
        "EngineVersion": (node["Description"].get("Engine") or {}).get("EngineVersion", ""),
    }


def _tls_status(own: Mapping[str, Any], root: Mapping[str, Any]) -> str:
    if not own or not root:
        return "Unknown"
    return "Ready" if own == root else "Needs Rotation"
