"""The text of ``covey info``: the daemon and its swarm. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

from cli.format.units import human_binary_size, human_duration

Item = Mapping[str, Any]
Line = tuple[int, str, Any] | str
"""Indentation, key and value, or a literal line. An entry without a value is left out."""


def info(found: Item) -> str:
    """The text of ``covey info`` for an answer of /info."""
    swarm = found.get("Swarm") or {}
    lines: list[Line] = [
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
        (0, "Runtimes", " ".join(sorted(found.get("Runtimes") or {}))),
        (0, "Default Runtime", found.get("DefaultRuntime")),
        *((0, f"{kind} plugins", " ".join(names or [])) for kind, names in (found.get("Plugins") or {}).items()),
        (0, "Kernel Version", found.get("KernelVersion")),
        (0, "Operating System", found.get("OperatingSystem")),
        (0, "Architecture", found.get("Architecture")),
        (0, "CPUs", found.get("NCPU")),
        (0, "Total Memory", human_binary_size(found.get("MemTotal", 0))),
        (0, "Root Dir", found.get("DockerRootDir")),
        (0, "Swarm", swarm.get("LocalNodeState", "inactive")),
        *_swarm(swarm),
    ]
    return "".join(map(_text, lines))


def _text(line: Line) -> str:
    if isinstance(line, str):
        return f"{line}\n"
    depth, key, value = line
    return "" if value in (None, "") else f"{' ' * depth}{key}: {value}\n"


def _swarm(swarm: Item) -> list[Line]:
    if not swarm.get("NodeID"):
        return [(1, "Error", swarm.get("Error"))]
    addrs = sorted(peer["Addr"] for peer in swarm.get("RemoteManagers") or [])
    return [
        (1, "NodeID", swarm["NodeID"]),
        (1, "Error", swarm.get("Error")),
        (1, "Is Manager", _bool_text(swarm.get("ControlAvailable"))),
        *(_cluster(swarm, swarm["Cluster"]) if swarm.get("Cluster") else []),
        (1, "Node Address", swarm.get("NodeAddr")),
        *_titled_lines(" Manager Addresses:", [f"  {addr}" for addr in addrs]),
    ]


def _cluster(swarm: Item, cluster: Item) -> list[Line]:
    return [
        (1, "ClusterID", cluster.get("ID")),
        (1, "Managers", swarm.get("Managers")),
        (1, "Nodes", swarm.get("Nodes")),
        (1, "Default Address Pool", "  ".join(cluster.get("DefaultAddrPool") or [])),
        (1, "SubnetSize", cluster.get("SubnetSize")),
        (1, "Data Path Port", cluster.get("DataPathPort")),
        *_settings(cluster.get("Spec") or {}),
        (1, "Root Rotation In Progress", _bool_text(cluster.get("RootRotationInProgress"))),
    ]


def _settings(spec: Item) -> list[Line]:
    raft, authority = spec.get("Raft") or {}, spec.get("CAConfig") or {}
    return [
        " Orchestration:",
        (2, "Task History Retention Limit", (spec.get("Orchestration") or {}).get("TaskHistoryRetentionLimit", 0)),
        " Raft:",
        (2, "Snapshot Interval", raft.get("SnapshotInterval")),
        (2, "Number of Old Snapshots to Retain", raft.get("KeepOldSnapshots")),
        (2, "Heartbeat Tick", raft.get("HeartbeatTick")),
        (2, "Election Tick", raft.get("ElectionTick")),
        " Dispatcher:",
        (2, "Heartbeat Period", human_duration((spec.get("Dispatcher") or {}).get("HeartbeatPeriod", 0))),
        " CA Configuration:",
        (2, "Expiry Duration", human_duration(authority.get("NodeCertExpiry", 0))),
        (2, "Force Rotate", authority.get("ForceRotate", 0)),
        *_titled_lines(
            "  External CAs:", [f"    {ca['Protocol']}: {ca['URL']}" for ca in authority.get("ExternalCAs") or []]
        ),
        (1, "Autolock Managers", _bool_text((spec.get("EncryptionConfig") or {}).get("AutoLockManagers"))),
    ]


def _titled_lines(title: str, lines: Sequence[str]) -> Sequence[str]:
    return [title, *lines] if lines else []


def _bool_text(flag: object) -> str:
    return "true" if flag else "false"
