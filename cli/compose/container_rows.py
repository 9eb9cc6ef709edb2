"""Rows of ``compose ps``: those of ``docker ps`` with what Docker Compose adds. Pure."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from cli.compose.model import ExistingContainer
from cli.rows import container as rows

_EXIT_CODE = re.compile(r"Exited \((\d+)\)")
_HEALTH = re.compile(r"\((?:health: )?(starting|healthy|unhealthy)\)$")


def container_row(
    container: ExistingContainer, item: Mapping[str, Any], project: str, now_ns: int, *, trunc: bool
) -> dict[str, Any]:
    """The fields of a container, by the names that templates use."""
    status = str(item.get("Status", ""))
    code, health = _EXIT_CODE.match(status), _HEALTH.search(status)
    row = {key: value for key, value in rows.row(item, now_ns, trunc=trunc).items() if key != "Platform"}
    return {
        **row,
        "Name": container.name,
        "Service": container.service,
        "Project": project,
        "Engine": "",
        "ExitCode": int(code[1]) if code else 0,
        "Health": health[1] if health else "",
        "Publishers": publishers(item.get("Ports") or ()),
    }


def publishers(ports: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The ports of a container as ``ps --format json`` has them, by port in the container."""
    ordered = sorted(ports, key=lambda port: (port.get("PrivatePort", 0), port.get("Type", ""), port.get("IP", "")))
    return [
        {
            "URL": port.get("IP", ""),
            "TargetPort": port.get("PrivatePort", 0),
            "PublishedPort": port.get("PublicPort", 0),
            "Protocol": port.get("Type", ""),
        }
        for port in ordered
    ]


def publisher_text(port: Mapping[str, Any]) -> str:
    """``80/tcp -> 0.0.0.0:8080``, as ``port`` lists it."""
    address = f"[{port['URL']}]" if ":" in port["URL"] else port["URL"]
    return f"{port['TargetPort']}/{port['Protocol']} -> {address}:{port['PublishedPort']}"
