"""The text of ``inspect --pretty`` for services, nodes, secrets and configs. Pure."""

from collections.abc import Iterable, Mapping
from typing import Any

from cli.format.units import go_duration, go_time, human_binary_size
from cli.rows.service import mode

Item = Mapping[str, Any]
Line = tuple[int, str, Any] | str
"""Indentation, key and value, or a literal line. An entry without a value is left out; a key ending with a colon is a heading."""


def _lines(items: Iterable[Line]) -> str:
    return "".join(map(_text, items)).expandtabs(8)


def _text(line: Line) -> str:
    if isinstance(line, str):
        return f"{line}\n"
    depth, key, value = line
    if key.endswith(":"):
        return f"{' ' * depth}{key}\n"
    return "" if value in (None, "", [], {}) else f"{' ' * depth}{key}:\t{value}\n"


def _labels(labels: Mapping[str, str] | None, mark: str = "- ", title: str = "Labels:") -> list[Line]:
    """Lines of labels; the value of a label may be empty."""
    if not labels:
        return []
    return [title, *(f" {mark}{key}{f'={value}' if value else ''}" for key, value in sorted(labels.items()))]


def secret(item: Item) -> str:
    """A secret or a config, without its content."""
    spec = item["Spec"]
    return _lines(
        [
            (0, "ID", item["ID"]),
            (0, "Name", spec["Name"]),
            *_labels(spec.get("Labels")),
            (0, "Created at", go_time(item["CreatedAt"])),
            (0, "Updated at", go_time(item["UpdatedAt"])),
        ]
    )


def node(item: Item) -> str:
    spec, status, about = item["Spec"], item["Status"], item["Description"]
    manager, platform, resources = item.get("ManagerStatus"), about.get("Platform") or {}, about.get("Resources") or {}
    engine = about.get("Engine") or {}
    lines: list[Line] = [
        (0, "ID", item["ID"]),
        (0, "Name", spec.get("Name")),
        *_labels(spec.get("Labels")),
        (0, "Hostname", about.get("Hostname")),
        (0, "Joined at", go_time(item["CreatedAt"])),
        (0, "Status:", None),
        (1, "State", status.get("State", "").capitalize()),
        (1, "Message", status.get("Message")),
        (1, "Availability", spec["Availability"].capitalize()),
        (1, "Address", status.get("Addr")),
    ]
    if manager:
        lines += [
            (0, "Manager Status:", None),
            (1, "Address", manager.get("Addr")),
            (1, "Raft Status", manager.get("Reachability", "").capitalize()),
            (1, "Leader", "Yes" if manager.get("Leader") else "No"),
        ]
    lines += [
        (0, "Platform:", None),
        (1, "Operating System", platform.get("OS")),
        (1, "Architecture", platform.get("Architecture")),
        (0, "Resources:", None),
        (1, "CPUs", resources.get("NanoCPUs", 0) // 1_000_000_000),
        (1, "Memory", human_binary_size(resources.get("MemoryBytes", 0))),
        *_plugins(engine.get("Plugins") or []),
        (0, "Engine Version", engine.get("EngineVersion")),
        *_labels(engine.get("Labels"), title="Engine Labels:"),
        *_tls(about.get("TLSInfo") or {}),
    ]
    return _lines(lines)


def _plugins(plugins: Iterable[Item]) -> list[Line]:
    by_kind: dict[str, list[str]] = {}
    for plugin in plugins:
        by_kind.setdefault(plugin["Type"], []).append(plugin["Name"])
    lines: list[Line] = [(1, kind, ", ".join(names)) for kind, names in sorted(by_kind.items())]
    return ["Plugins:", *lines] if lines else []


def _tls(tls: Item) -> list[Line]:
    if not tls.get("TrustRoot"):
        return []
    return [
        "TLS Info:",
        " TrustRoot:",
        tls["TrustRoot"],
        (1, "Issuer Subject", tls.get("CertIssuerSubject")),
        (1, "Issuer Public Key", tls.get("CertIssuerPublicKey")),
    ]


def service(item: Item, networks: Mapping[str, str]) -> str:
    """A service; ``networks`` maps network ids to names."""
    spec, task = item["Spec"], item["Spec"]["TaskTemplate"]
    container, word = task["ContainerSpec"], mode(item)
    replicas = (spec["Mode"].get("Replicated") or {}).get("Replicas")
    update = item.get("UpdateStatus") or {}
    lines: list[Line] = [
        (0, "ID", item["ID"]),
        (0, "Name", spec["Name"]),
        *_labels(spec.get("Labels"), mark=""),
        (0, "Service Mode", word.capitalize()),
        (1, "Replicas", replicas),
    ]
    if update:
        lines += [
            (0, "UpdateStatus:", None),
            (1, "State", update.get("State")),
            (1, "Started", go_time(update.get("StartedAt", ""))),
            (1, "Message", update.get("Message")),
        ]
    placement = task.get("Placement") or {}
    lines += [
        (0, "Placement:", None),
        (1, "Constraints", ", ".join(placement.get("Constraints") or [])),
        (1, "Max Replicas Per Node", placement.get("MaxReplicas")),
        *_policy("UpdateConfig:", spec.get("UpdateConfig")),
        *_policy("RollbackConfig:", spec.get("RollbackConfig")),
        (0, "ContainerSpec:", None),
        (1, "Image", container.get("Image")),
        (1, "Command", " ".join(container.get("Command") or [])),
        (1, "Args", " ".join(container.get("Args") or [])),
        (1, "Env", " ".join(container.get("Env") or [])),
        (1, "Dir", container.get("Dir")),
        (1, "User", container.get("User")),
        (1, "Init", str(container["Init"]).lower() if container.get("Init") is not None else None),
        (1, "Secrets", ", ".join(entry["SecretName"] for entry in container.get("Secrets") or [])),
        (1, "Configs", ", ".join(entry["ConfigName"] for entry in container.get("Configs") or [])),
    ]
    for mount in container.get("Mounts") or []:
        lines += [
            (0, "Mounts:", None),
            (1, "Target", mount["Target"]),
            (2, "Source", mount.get("Source")),
            (2, "Type", mount["Type"]),
        ]
    lines += _resources(task.get("Resources") or {})
    attached = [networks.get(entry["Target"], entry["Target"]) for entry in task.get("Networks") or []]
    lines += [
        (0, "Networks", ", ".join(attached)),
        (0, "Endpoint Mode", (spec.get("EndpointSpec") or {}).get("Mode", "vip")),
    ]
    return _lines(lines)


def _policy(title: str, policy: Item | None) -> list[Line]:
    if not policy:
        return []
    return [
        (0, title, None),
        (1, "Parallelism", str(policy.get("Parallelism", 0))),
        (1, "Delay", go_duration(policy["Delay"]) if policy.get("Delay") else None),
        (1, "On failure", policy.get("FailureAction")),
        (1, "Monitoring Period", go_duration(policy["Monitor"]) if policy.get("Monitor") else None),
        (1, "Max failure ratio", str(policy.get("MaxFailureRatio", 0))),
        (1, f"{title.removesuffix('Config:')} order", policy.get("Order")),
    ]


def _resources(resources: Item) -> list[Line]:
    lines: list[Line] = []
    for key in ("Reservations", "Limits"):
        part = resources.get(key) or {}
        lines += (
            [
                (1, f"{key}:", None),
                (2, "CPU", f"{part['NanoCPUs'] / 1e9:g}" if part.get("NanoCPUs") else None),
                (2, "Memory", human_binary_size(part["MemoryBytes"]) if part.get("MemoryBytes") else None),
                (2, "Pids", part.get("Pids")),
            ]
            if part
            else []
        )
    return [(0, "Resources:", None), *lines] if lines else []
