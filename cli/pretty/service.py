"""The text of ``service inspect --pretty``, in the order of docker. Pure."""

from collections.abc import Mapping
from typing import Any

from cli.format.units import go_time, human_binary_size
from cli.pretty.lines import Line, label_lines, text
from cli.pretty.schedule import autoscale_lines, schedule_lines
from cli.rows.service import mode
from covey.quantities import go_duration

Item = Mapping[str, Any]


def service(item: Item, networks: Mapping[str, str]) -> str:
    """A service; ``networks`` maps network ids to names."""
    spec, task = item["Spec"], item["Spec"]["TaskTemplate"]
    container = task.get("ContainerSpec") or {}
    attached = [networks.get(entry["Target"], entry["Target"]) for entry in task.get("Networks") or []]
    endpoint = spec.get("EndpointSpec") or {}
    return text(
        [
            (0, "ID", item["ID"]),
            (0, "Name", spec["Name"]),
            *label_lines(spec.get("Labels"), mark=""),
            (0, "Service Mode", mode(item).capitalize()),
            (1, "Replicas", (spec["Mode"].get("Replicated") or {}).get("Replicas")),
            *_job(spec["Mode"].get("ReplicatedJob")),
            *_dependencies(item),
            *schedule_lines(item),
            *autoscale_lines(item),
            *_update(item.get("UpdateStatus") or {}),
            *_placement(task.get("Placement") or {}),
            *_policy("UpdateConfig:", spec.get("UpdateConfig")),
            *_policy("RollbackConfig:", spec.get("RollbackConfig")),
            *_container(container),
            *_kernel(container),
            *_mounts(container),
            *_files("Configs:", "ConfigName", container.get("Configs") or []),
            *_files("Secrets:", "SecretName", container.get("Secrets") or []),
            *_log_driver(task.get("LogDriver") or {}),
            *_resources(task.get("Resources") or {}),
            (0, "Networks", " ".join(attached)),
            (0, "Endpoint Mode", endpoint.get("Mode", "vip")),
            *_ports(endpoint.get("Ports") or []),
            *_health(container.get("Healthcheck")),
        ]
    )


def _job(counts: Item | None) -> list[Line]:
    if counts is None:
        return []
    return [
        (1, "Total Completions", str(counts.get("TotalCompletions", 0))),
        (1, "Max Concurrent", str(counts.get("MaxConcurrent", 0))),
    ]


def _dependencies(item: Item) -> list[Line]:
    """What only Covey's services have."""
    lines: list[Line] = [
        (
            1,
            found["Service"],
            found["Condition"] + ", restart" * bool(found.get("Restart")) + ", optional" * bool(found.get("Optional")),
        )
        for found in item.get("DependsOn") or []
    ]
    waiting = item.get("WaitingFor")
    return [*([(0, "DependsOn:", None), *lines] if lines else []), *([(0, "WaitingFor", waiting)] if waiting else [])]


def _update(status: Item) -> list[Line]:
    if not status:
        return []
    return [
        (0, "UpdateStatus:", None),
        (1, "State", status.get("State")),
        (1, "Started", go_time(status.get("StartedAt", ""))),
        (1, "Message", status.get("Message")),
    ]


def _placement(placement: Item) -> list[Line]:
    spreads = [
        f"spread={(entry.get('Spread') or {}).get('SpreadDescriptor', '')}"
        for entry in placement.get("Preferences") or []
    ]
    return [
        (0, "Placement:", None),
        (1, "Constraints", _bracketed(placement.get("Constraints") or [])),
        (1, "Preferences", _bracketed(spreads)),
        (1, "Max Replicas Per Node", placement.get("MaxReplicas") or None),
    ]


def _bracketed(words: list[str]) -> str:
    return f"[{' '.join(words)}]" if words else ""


def _policy(title: str, policy: Item | None) -> list[Line]:
    if not policy:
        return []
    return [
        (0, title, None),
        (1, "Parallelism", str(policy.get("Parallelism", 0))),
        (1, "Delay", go_duration(policy["Delay"]) if policy.get("Delay") else None),
        (1, "On failure", policy.get("FailureAction")),
        (1, "Monitoring Period", go_duration(policy["Monitor"]) if policy.get("Monitor") else None),
        (1, "Max failure ratio", f"{policy.get('MaxFailureRatio', 0):g}"),
        (1, f"{title.removesuffix('Config:')} order", policy.get("Order")),
    ]


def _container(container: Item) -> list[Line]:
    return [
        (0, "ContainerSpec:", None),
        (1, "Image", container.get("Image")),
        (1, "Command", " ".join(container.get("Command") or [])),
        (1, "Args", " ".join(container.get("Args") or [])),
        (1, "Env", " ".join(container.get("Env") or [])),
        (1, "Dir", container.get("Dir")),
        (1, "Init", str(container["Init"]).lower() if container.get("Init") is not None else None),
        (1, "User", container.get("User")),
    ]


def _kernel(container: Item) -> list[Line]:
    """Capabilities, kernel parameters and limits."""
    added, dropped = container.get("CapabilityAdd") or [], container.get("CapabilityDrop") or []
    sysctls, ulimits = container.get("Sysctls") or {}, container.get("Ulimits") or []
    lines: list[Line] = ["Capabilities:"] if added or dropped else []
    lines += [(1, "Add", ", ".join(added)), (1, "Drop", ", ".join(dropped))]
    lines += ["SysCtls:"] if sysctls else []
    lines += [(1, name, value) for name, value in sorted(sysctls.items())]
    lines += ["Ulimits:"] if ulimits else []
    lines += [(1, item["Name"], f"{item.get('Soft', 0)}:{item.get('Hard', 0)}") for item in ulimits]
    return lines


def _mounts(container: Item) -> list[Line]:
    mounts = container.get("Mounts") or []
    lines: list[Line] = ["Mounts:"] if mounts else []
    for mount in mounts:
        lines += [
            (1, "Target", mount["Target"]),
            f"  Source:\t{mount.get('Source', '')}",
            (2, "ReadOnly", "true" if mount.get("ReadOnly") else "false"),
            (2, "Type", mount["Type"]),
        ]
    return lines


def _files(title: str, name: str, files: list[Item]) -> list[Line]:
    """Configs or secrets: where they are in the container, and where they come from."""
    lines: list[Line] = [title] if files else []
    for entry in files:
        lines += [(1, "Target", (entry.get("File") or {}).get("Name")), (2, "Source", entry.get(name))]
    return lines


def _log_driver(driver: Item) -> list[Line]:
    if not driver.get("Name"):
        return []
    options = driver.get("Options") or {}
    return [
        "Log Driver:",
        (1, "Name", driver["Name"]),
        *([" LogOpts:"] if options else []),
        *((2, key, value) for key, value in sorted(options.items())),
    ]


def _resources(resources: Item) -> list[Line]:
    lines: list[Line] = []
    for key in ("Reservations", "Limits"):
        part = resources.get(key) or {}
        found: list[tuple[int, str, Any]] = [
            (2, "CPU", f"{part['NanoCPUs'] / 1e9:g}" if part.get("NanoCPUs") else None),
            (2, "Memory", human_binary_size(part["MemoryBytes"]) if part.get("MemoryBytes") else None),
            (2, "PIDs", part.get("Pids") or None),
        ]
        lines += [(1, f"{key}:", None), *found] if any(value for _, _, value in found) else []
    return [(0, "Resources:", None), *lines] if resources else []


def _ports(ports: list[Item]) -> list[Line]:
    lines: list[Line] = ["Ports:"] if ports else []
    for port in ports:
        lines += [
            f" PublishedPort = {port.get('PublishedPort', 0)}",
            f"  Protocol = {port.get('Protocol', 'tcp')}",
            f"  TargetPort = {port.get('TargetPort', 0)}",
            f"  PublishMode = {port.get('PublishMode', 'ingress')}",
        ]
    return lines


def _health(check: Item | None) -> list[Line]:
    if not check:
        return []
    return [
        " Healthcheck:",
        f"  Interval = {go_duration(check.get('Interval', 0))}",
        f"  Retries = {check.get('Retries', 0)}",
        f"  StartPeriod = {go_duration(check.get('StartPeriod', 0))}",
        f"  Timeout = {go_duration(check.get('Timeout', 0))}",
        *(["  Tests:"] if check.get("Test") else []),
        *(f"   Test = {word}" for word in check.get("Test") or []),
    ]
