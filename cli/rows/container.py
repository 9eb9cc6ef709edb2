"""Table rows of containers (``covey ps``)."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from cli.format.table import Row, truncate
from cli.format.units import ago, human_size, short_id
from cli.rows.network import labels
from covey.clock import SECOND

HEADERS = {
    "ID": "CONTAINER ID",
    "Names": "NAMES",
    "Image": "IMAGE",
    "Command": "COMMAND",
    "CreatedAt": "CREATED AT",
    "RunningFor": "CREATED",
    "Ports": "PORTS",
    "State": "STATE",
    "Status": "STATUS",
    "Size": "SIZE",
    "Labels": "LABELS",
    "Mounts": "MOUNTS",
    "LocalVolumes": "LOCAL VOLUMES",
    "Networks": "NETWORKS",
    "Platform": "PLATFORM",
}
TABLE = "{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}"
COMMAND_LENGTH, MOUNT_LENGTH = 20, 15


def row(container: Mapping[str, Any], now_ns: int, *, trunc: bool, sizes: bool = False) -> Row:
    created = int(container.get("Created", 0))
    command = str(container.get("Command", ""))
    mounts = [str(mount.get("Name") or mount.get("Source", "")) for mount in container.get("Mounts") or []]
    return {
        "ID": short_id(container["Id"]) if trunc else container["Id"],
        "Names": ",".join(name.removeprefix("/") for name in container.get("Names") or [] if name.count("/") == 1),
        "Image": image(container, trunc=trunc),
        "Command": f'"{truncate(command, COMMAND_LENGTH) if trunc else command}"',
        "CreatedAt": f"{datetime.fromtimestamp(created, UTC).astimezone():%Y-%m-%d %H:%M:%S %z %Z}",
        "RunningFor": ago(created * SECOND, now_ns),
        "Ports": ports(container.get("Ports") or []),
        "State": container.get("State", ""),
        "Status": container.get("Status", ""),
        "Size": _size(container) if sizes or "SizeRw" in container else "0B",
        "Labels": labels(container.get("Labels")),
        "Mounts": ",".join(truncate(name, MOUNT_LENGTH) if trunc else name for name in mounts),
        "LocalVolumes": str(sum(1 for mount in container.get("Mounts") or [] if mount.get("Driver") == "local")),
        "Networks": ",".join(sorted((container.get("NetworkSettings") or {}).get("Networks") or {})),
        "Platform": None,
    }


def image(container: Mapping[str, Any], *, trunc: bool) -> str:
    name = str(container.get("Image", "")) or "<no image>"
    if not trunc:
        return name
    if name == container.get("ImageID"):
        return short_id(name)
    return name.split("@", 1)[0]


def ports(items: list[Mapping[str, Any]]) -> str:
    """Ports such as ``0.0.0.0:80->8080/tcp``, sorted by container port."""
    shown = []
    for port in sorted(items, key=lambda item: (item.get("PrivatePort", 0), item.get("Type", ""))):
        inside = f"{port.get('PrivatePort')}/{port.get('Type', 'tcp')}"
        host = str(port.get("IP", ""))
        host = f"[{host}]" if ":" in host else host
        outside = f"{host}:{port['PublicPort']}->" if port.get("PublicPort") else ""
        shown.append(f"{outside}{inside}")
    return ", ".join(shown)


def published(bindings: list[Mapping[str, str]]) -> list[str]:
    """Addresses such as ``0.0.0.0:8080`` and ``[::]:8080`` of one container port."""
    return [
        f"[{item['HostIp']}]:{item['HostPort']}"
        if ":" in item.get("HostIp", "")
        else f"{item['HostIp']}:{item['HostPort']}"
        for item in bindings
    ]


def _size(container: Mapping[str, Any]) -> str:
    written = human_size(container.get("SizeRw", 0), 3)
    whole = container.get("SizeRootFs", 0)
    return f"{written} (virtual {human_size(whole, 3)})" if whole else written
