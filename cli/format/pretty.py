"""Objects in a form for people: ``inspect --pretty`` and ``info``. Pure."""

from collections.abc import Iterable, Mapping
from typing import Any

from cli.format.units import binary_size, go_span, go_time
from cli.rows.service import mode

Item = Mapping[str, Any]
Line = tuple[int, str, Any]


def _lines(items: Iterable[Line]) -> str:
    """``(depth, key, value)`` each; what has no value is left out, and a key ending with a colon is a heading."""
    return "".join(
        f"{' ' * depth}{key}\n" if key.endswith(":") else f"{' ' * depth}{key}:\t{value}\n"
        for depth, key, value in items
        if key.endswith(":") or value not in (None, "", [], {})
    ).expandtabs(8)


def _labels(labels: Mapping[str, str] | None) -> list[Line]:
    return [(0, "Labels:", None), *((1, key, value) for key, value in sorted((labels or {}).items()))] if labels else []


def secret(item: Item) -> str:
    """A secret or config without its content."""
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
        (1, "Memory", binary_size(resources.get("MemoryBytes", 0))),
        (0, "Engine Version", (about.get("Engine") or {}).get("EngineVersion")),
    ]
    return _lines(lines)


def service(item: Item, networks: Mapping[str, str]) -> str:
    """``networks``: names by id."""
    spec, task = item["Spec"], item["Spec"]["TaskTemplate"]
    container, word = task["ContainerSpec"], mode(item)
    replicas = (spec["Mode"].get("Replicated") or {}).get("Replicas")
    update = item.get("UpdateStatus") or {}
    lines: list[Line] = [
        (0, "ID", item["ID"]),
        (0, "Name", spec["Name"]),
        *_labels(spec.get("Labels")),
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
        (1, "Delay", go_span(policy["Delay"]) if policy.get("Delay") else None),
        (1, "On failure", policy.get("FailureAction")),
        (1, "Monitoring Period", go_span(policy["Monitor"]) if policy.get("Monitor") else None),
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
                (2, "Memory", binary_size(part["MemoryBytes"]) if part.get("MemoryBytes") else None),
                (2, "Pids", part.get("Pids")),
            ]
            if part
            else []
        )
    return [(0, "Resources:", None), *lines] if lines else []


def info(found: Item) -> str:
    """The daemon and its cluster."""
    swarm = found.get("Swarm") or {}
    lines: list[tuple[int, str, Any]] = [
        (0, "Server Version", found.get("ServerVersion")),
        (0, "Name", found.get("Name")),
        (0, "ID", found.get("ID")),
        (0, "Containers", found.get("Containers")),
        (1, "Running", found.get("ContainersRunning")),
        (1, "Paused", found.get("ContainersPaused")),
        (1, "Stopped", found.get("ContainersStopped")),
        (0, "Images", found.get("Images")),
        (0, "Storage Driver", found.get("Driver")),
        (0, "Logging Driver", found.get("LoggingDriver")),
        (0, "Cgroup Driver", found.get("CgroupDriver")),
        (0, "Cgroup Version", found.get("CgroupVersion")),
        (0, "Default Runtime", found.get("DefaultRuntime")),
        *((0, f"{kind} plugins", " ".join(names or [])) for kind, names in (found.get("Plugins") or {}).items()),
        (0, "Kernel Version", found.get("KernelVersion")),
        (0, "Operating System", found.get("OperatingSystem")),
        (0, "Architecture", found.get("Architecture")),
        (0, "CPUs", found.get("NCPU")),
        (0, "Total Memory", binary_size(found.get("MemTotal", 0))),
        (0, "Root Dir", found.get("DockerRootDir")),
        (0, "Swarm", swarm.get("LocalNodeState", "inactive")),
        *_swarm(swarm),
    ]
    return "".join(f"{' ' * depth}{key}: {value}\n" for depth, key, value in lines if value not in (None, ""))


def _swarm(swarm: Item) -> list[tuple[int, str, Any]]:
    if not swarm.get("NodeID"):
        return [(1, "Error", swarm.get("Error"))]
    cluster = swarm.get("Cluster") or {}
    managers = ", ".join(sorted(peer["Addr"] for peer in swarm.get("RemoteManagers") or []))
    return [
        (1, "NodeID", swarm["NodeID"]),
        (1, "Error", swarm.get("Error")),
        (1, "Is Manager", "true" if swarm.get("ControlAvailable") else "false"),
        (1, "ClusterID", cluster.get("ID")),
        (1, "Managers", swarm.get("Managers") if cluster else None),
        (1, "Nodes", swarm.get("Nodes") if cluster else None),
        (1, "Default Address Pool", " ".join(cluster.get("DefaultAddrPool") or [])),
        (1, "Data Path Port", cluster.get("DataPathPort")),
        (1, "Node Address", swarm.get("NodeAddr")),
        (1, "Manager Addresses", managers),
    ]
