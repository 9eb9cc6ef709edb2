"""Table rows of networks and volumes."""

from collections.abc import Mapping
from typing import Any

from cli.format.table import Row
from cli.format.units import go_time, human_size, short_id

HEADERS = {
    "ID": "NETWORK ID",
    "Name": "NAME",
    "Driver": "DRIVER",
    "Scope": "SCOPE",
    "IPv4": "IPV4",
    "IPv6": "IPV6",
    "Internal": "INTERNAL",
    "Labels": "LABELS",
    "CreatedAt": "CREATED AT",
}
TABLE = "{{.ID}}\t{{.Name}}\t{{.Driver}}\t{{.Scope}}"
VOLUME_HEADERS = {
    "Name": "VOLUME NAME",
    "Driver": "DRIVER",
    "Scope": "SCOPE",
    "Mountpoint": "MOUNTPOINT",
    "Labels": "LABELS",
    "Links": "LINKS",
    "Size": "SIZE",
    "Availability": "AVAILABILITY",
    "Group": "GROUP",
    "Status": "STATUS",
}
VOLUME_TABLE = "{{.Driver}}\t{{.Name}}"


def row(network: Mapping[str, Any], *, trunc: bool) -> Row:
    return {
        "ID": short_id(network["Id"]) if trunc else network["Id"],
        "Name": network["Name"],
        "Driver": network.get("Driver", ""),
        "Scope": network.get("Scope", ""),
        "IPv4": _flag(network.get("EnableIPv4", True)),
        "IPv6": _flag(network.get("EnableIPv6", False)),
        "Internal": _flag(network.get("Internal", False)),
        "Labels": labels(network.get("Labels")),
        "CreatedAt": go_time(network.get("Created", "")),
    }


def volume(item: Mapping[str, Any]) -> Row:
    usage = item.get("UsageData") or {}
    return {
        "Name": item["Name"],
        "Driver": item.get("Driver", ""),
        "Scope": item.get("Scope", ""),
        "Mountpoint": item.get("Mountpoint", ""),
        "Labels": labels(item.get("Labels")),
        "Links": str(usage["RefCount"]) if usage else "N/A",
        "Size": human_size(usage["Size"]) if usage else "N/A",
        "Availability": "N/A",
        "Group": "N/A",
        "Status": "N/A",
    }


def labels(mapping: Mapping[str, str] | None) -> str:
    return ",".join(f"{key}={value}" for key, value in sorted((mapping or {}).items()))


def _flag(value: bool) -> str:
    return "true" if value else "false"
