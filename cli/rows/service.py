"""Table rows of services."""

from collections.abc import Iterable, Mapping
from typing import Any

from cli.format.schedule import replica_note
from cli.format.sorting import natural_sort_key
from cli.format.table import Row
from cli.format.units import short_id

HEADERS = {
    "ID": "ID",
    "Name": "NAME",
    "Mode": "MODE",
    "Replicas": "REPLICAS",
    "Image": "IMAGE",
    "Ports": "PORTS",
}
TABLE = "{{.ID}}\t{{.Name}}\t{{.Mode}}\t{{.Replicas}}\t{{.Image}}\t{{.Ports}}"
_MODES = {
    "Replicated": "replicated",
    "Global": "global",
    "ReplicatedJob": "replicated job",
    "GlobalJob": "global job",
}
Service = Mapping[str, Any]


def rows(services: Iterable[Service], now_ns: int = 0) -> list[Row]:
    """One row for each service, in natural order of names. ``now_ns`` is the time for what is to come."""
    ordered = sorted(services, key=lambda service: natural_sort_key(service["Spec"]["Name"]))
    return [row(service, now_ns) for service in ordered]


def row(service: Service, now_ns: int = 0) -> Row:
    spec = service["Spec"]
    return {
        "ID": short_id(service["ID"]),
        "Name": spec["Name"],
        "Mode": mode(service),
        "Replicas": replicas(service) + replica_note(service, now_ns),
        "Image": image(service),
        "Ports": ports(service),
    }


def mode(service: Service) -> str:
    return next((word for key, word in _MODES.items() if key in service["Spec"].get("Mode", {})), "")


def replicas(service: Service) -> str:
    status = service.get("ServiceStatus") or {}
    text = f"{status.get('RunningTasks', 0)}/{status.get('DesiredTasks', 0)}"
    modes, completed = service["Spec"].get("Mode") or {}, status.get("CompletedTasks", 0)
    if "ReplicatedJob" in modes:
        text += f" ({completed}/{(modes['ReplicatedJob'] or {}).get('TotalCompletions', 0)} completed)"
    elif "GlobalJob" in modes:
        text += f" ({completed}/{completed + status.get('DesiredTasks', 0)} completed)"
    placement = service["Spec"]["TaskTemplate"].get("Placement") or {}
    if placement.get("MaxReplicas"):
        text += f" (max {placement['MaxReplicas']} per node)"
    if (service["Spec"].get("Labels") or {}).get("covey.stopped") == "true":
        text += " (stopped)"
    if waiting := service.get("WaitingFor"):
        text += f" ({waiting.partition(' (')[0]})"
    return text


def image(service: Service) -> str:
    text: str = (service["Spec"]["TaskTemplate"].get("ContainerSpec") or {}).get("Image", "")
    name = text.split("@", 1)[0]
    return name if ":" in name else text


def ports(service: Service) -> str:
    published = (service.get("Endpoint") or {}).get("Ports") or []
    return ", ".join(
        f"*:{port.get('PublishedPort', '')}->{port.get('TargetPort', '')}/{port.get('Protocol', 'tcp')}"
        for port in published
        if port.get("PublishMode", "ingress") == "ingress"
    )
