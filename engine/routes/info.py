"""Route ``GET /info``: the host, its containers and images, the daemon's settings, and its cluster."""

import asyncio
from pathlib import Path
from typing import Any

from aiohttp import web

from agent.container.model import RunStatus
from covey.container_runtime import RuntimeProgram, programs
from covey.errors import CoveyError
from covey.log_driver import DRIVER_NAMES
from covey.states import NodeRole
from covey.version import engine_version
from engine.request_context import EngineServices, RequestContext, json_response
from engine.routing import Route
from engine.translate import swarm as swarm_json
from engine.translate.api_versions import shape
from engine.translate.task_spec import write_generic
from engine.translate.times import rfc3339


async def info(context: RequestContext) -> web.Response:
    services = context.services
    host, node = services.host, services.node
    states = [container.state.status for container in services.agent.containers.list()]
    running, paused = states.count(RunStatus.RUNNING), states.count(RunStatus.PAUSED)
    settings = services.settings.current
    shown = {
        "ID": node.engine_id,
        "Containers": len(states),
        "ContainersRunning": running,
        "ContainersPaused": paused,
        "ContainersStopped": len(states) - running - paused,
        "Images": len(services.agent.images.list()),
        "Driver": "overlay2",
        "DriverStatus": [
            ["Backing Filesystem", host.backing_file_system],
            ["Supports d_type", "true"],
            ["Using metacopy", "false"],
            ["Native Overlay Diff", "true"],
            ["userxattr", "false"],
        ],
        "Plugins": {
            "Volume": ["local"],
            "Network": ["bridge", "host", "ipvlan", "macvlan", "null", "overlay"],
            "Authorization": None,
            "Log": [name for name in DRIVER_NAMES if name != "none"],
        },
        **_limits(services),
        "IPv4Forwarding": host.ip_forwarding,
        "Debug": settings.debug,
        "NFd": _open_files(),
        "OomKillDisable": False,
        "NGoroutines": len(asyncio.all_tasks()),
        "SystemTime": rfc3339(services.clock()),
        "LoggingDriver": settings.log_driver,
        "CgroupDriver": "cgroupfs",
        "CgroupVersion": host.cgroup_version,
        "NEventsListener": services.events.readers,
        "KernelVersion": host.kernel,
        "OperatingSystem": host.operating_system,
        "OSVersion": host.os_version,
        "OSType": "linux",
        "Architecture": host.architecture,
        "IndexServerAddress": "https://index.docker.io/v1/",
        "RegistryConfig": services.agent.registries.describe(),
        "NCPU": host.cpus,
        "MemTotal": host.memory_bytes,
        "GenericResources": write_generic(settings.generic_resources).get("GenericResources"),
        "DockerRootDir": node.state_dir,
        "HttpProxy": "",
        "HttpsProxy": "",
        "NoProxy": "",
        "Name": node.hostname,
        "Labels": [f"{key}={value}" for key, value in sorted(settings.labels.items())],
        "ExperimentalBuild": False,
        "ServerVersion": engine_version(),
        "Runtimes": {name: _runtime(program) for name, program in programs(settings.runtimes).items()},
        "DefaultRuntime": settings.default_runtime,
        "Swarm": await _swarm(services),
        "LiveRestoreEnabled": True,
        "Isolation": "",
        "InitBinary": settings.init_path or "tini",
        "ContainerdCommit": {"ID": ""},
        "RuncCommit": {"ID": _commit(services, "runc")},
        "InitCommit": {"ID": _commit(services, "tini")},
        "SecurityOptions": list(host.security_options),
        "CDISpecDirs": [],
        "ProductLicense": "",
        "DefaultAddressPools": [{"Base": pool.base, "Size": pool.size} for pool in settings.address_pools],
        "FirewallBackend": {"Driver": "nftables", "Info": []},
        "DiscoveredDevices": [],
        "Warnings": [*host.warnings, *services.agent.warnings] or None,
    }
    return json_response(shape("info", context.version, shown))


def _runtime(program: RuntimeProgram) -> dict[str, Any]:
    return {"path": program.path, **({"runtimeArgs": list(program.arguments)} if program.arguments else {})}


def _limits(services: EngineServices) -> dict[str, bool]:
    controllers = services.host.controllers
    memory, cpu = "memory" in controllers, "cpu" in controllers
    return {
        "MemoryLimit": memory,
        "SwapLimit": memory and services.host.swap_limit,
        "CpuCfsPeriod": cpu,
        "CpuCfsQuota": cpu,
        "CPUShares": cpu,
        "CPUSet": "cpuset" in controllers,
        "PidsLimit": "pids" in controllers,
    }


def _open_files() -> int:
    """Open file descriptors of this process, without the one that lists them."""
    return max(sum(1 for _ in Path("/proc/self/fd").iterdir()) - 1, 0)


def _commit(services: EngineServices, name: str) -> str:
    program = services.programs.get(name)
    return (program.commit or program.version) if program else ""


async def _swarm(services: EngineServices) -> dict[str, Any]:
    """The ``Swarm`` part of info. A cluster without a leader must not make ``info`` fail, so its error is shown instead."""
    node = services.node
    result: dict[str, Any] = {
        "NodeID": node.node_id,
        "NodeAddr": node.advertise_addr,
        "LocalNodeState": str(node.state),
        "ControlAvailable": services.control_available,
        "Error": node.error,
        "RemoteManagers": [{"NodeID": peer.node_id, "Addr": peer.addr} for peer in node.managers] or None,
    }
    if services.control_available:
        try:
            cluster, nodes = await services.cluster.cluster(), await services.cluster.nodes()
        except CoveyError as error:
            result["Error"] = error.message
        else:
            managers = sum(1 for item in nodes if item.role is NodeRole.MANAGER)
            result |= {"Nodes": len(nodes), "Managers": managers, "Cluster": swarm_json.write_info(cluster)}
    return result


ROUTES = [Route("GET", "/info", info)]
