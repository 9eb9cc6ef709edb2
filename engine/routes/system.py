"""Routes for ping, version, info and disk usage."""

from collections import Counter
from typing import Any

from aiohttp import web

from agent.container.model import RunStatus
from covey.errors import CoveyError
from covey.states import NodeRole
from engine.container_size import size_fields
from engine.interfaces import LocalNodeState
from engine.request_context import EngineServices, RequestContext, json_response
from engine.routing import API_VERSION, MIN_API_VERSION, Route, format_version
from engine.translate import container_list
from engine.translate import disk_usage as usage_json
from engine.translate import image as image_json
from engine.translate import swarm as swarm_json
from engine.translate import volume as volume_json
from engine.translate.times import rfc3339


async def ping(context: RequestContext) -> web.Response:
    node = context.services.node
    state = str(node.state)
    if node.state is LocalNodeState.ACTIVE:
        state += "/manager" if node.is_manager else "/worker"
    headers = {
        "Builder-Version": "1",
        "Swarm": state,
        "Cache-Control": "no-cache, no-store, must-revalidate",
        "Pragma": "no-cache",
    }
    return web.Response(
        text="OK" if context.request.method == "GET" else None, headers=headers, content_type="text/plain"
    )


async def version(context: RequestContext) -> web.Response:
    host = context.services.host
    details = {
        "ApiVersion": format_version(API_VERSION),
        "Arch": host.goarch,
        "KernelVersion": host.kernel,
        "MinAPIVersion": format_version(MIN_API_VERSION),
        "Os": "linux",
    }
    return json_response(
        {
            "Platform": {"Name": "Covey"},
            "Components": [
                {"Name": "Engine", "Version": host.version, "Details": {**details, "Experimental": "false"}}
            ],
            "Version": host.version,
            **details,
            "GitCommit": "",
            "GoVersion": "",
            "BuildTime": "",
        }
    )


async def info(context: RequestContext) -> web.Response:
    services = context.services
    host, node = services.host, services.node
    states = [container.state.status for container in services.agent.containers.list()]
    running, paused = states.count(RunStatus.RUNNING), states.count(RunStatus.PAUSED)
    return json_response(
        {
            "ID": node.engine_id,
            "Containers": len(states),
            "ContainersRunning": running,
            "ContainersPaused": paused,
            "ContainersStopped": len(states) - running - paused,
            "Images": len(services.agent.images.list()),
            "Driver": "overlay2",
            "DriverStatus": [["Backing Filesystem", "overlayfs"]],
            "Plugins": {
                "Volume": ["local"],
                "Network": ["host", "null", "overlay"],
                "Authorization": None,
                "Log": ["json-file"],
            },
            **_limits(services),
            "IPv4Forwarding": host.ip_forwarding,
            "Debug": services.settings.current.debug,
            "NFd": 0,
            "OomKillDisable": False,
            "NGoroutines": 0,
            "SystemTime": rfc3339(services.clock()),
            "LoggingDriver": services.settings.current.log_driver,
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
            "GenericResources": None,
            "DockerRootDir": node.state_dir,
            "HttpProxy": "",
            "HttpsProxy": "",
            "NoProxy": "",
            "Name": node.hostname,
            "Labels": [f"{key}={value}" for key, value in sorted(services.settings.current.labels.items())],
            "ExperimentalBuild": False,
            "ServerVersion": host.version,
            "Runtimes": {"runc": {"path": "runc"}},
            "DefaultRuntime": "runc",
            "Swarm": await _swarm(services),
            "LiveRestoreEnabled": True,
            "Isolation": "",
            "InitBinary": "tini",
            "ContainerdCommit": {"ID": ""},
            "RuncCommit": {"ID": ""},
            "InitCommit": {"ID": ""},
            "SecurityOptions": list(host.security_options),
            "CDISpecDirs": [],
            "Warnings": list(host.warnings) or None,
        }
    )


def _limits(services: EngineServices) -> dict[str, bool]:
    controllers = services.host.controllers
    memory, cpu = "memory" in controllers, "cpu" in controllers
    return {
        "MemoryLimit": memory,
        "SwapLimit": memory,
        "CpuCfsPeriod": cpu,
        "CpuCfsQuota": cpu,
        "CPUShares": cpu,
        "CPUSet": "cpuset" in controllers,
        "PidsLimit": "pids" in controllers,
    }


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


async def disk_usage(context: RequestContext) -> web.Response:
    """Sizes and use of images, containers and volumes. An image is in use if any container has it, also a stopped one."""
    agent = context.services.agent
    types = usage_json.chosen_types(context.request.query.getall("type", []), context.version)
    images = agent.images.list()
    users = Counter(container.config.image_id for container in agent.containers.list())
    shared = usage_json.shared_sizes(images)
    volumes = [
        volume_json.write(
            item,
            str(agent.volumes.data_path(item.name)),
            {
                "RefCount": len(agent.containers.volume_users(item.name)),
                "Size": await agent.volumes.size_bytes(item.name),
            },
        )
        for item in (agent.volumes.list() if "volume" in types else ())
    ]
    containers = [
        container_list.summary(
            item, context.services.clock(), context.services.node.engine_id, context.services.volume_path
        )
        | await size_fields(agent, item)
        for item in (agent.containers.list() if "container" in types else ())
    ]
    summaries = [image_json.summary(item, users[item.id], shared[item.id]) for item in images]
    return json_response(usage_json.write(agent.images.disk_bytes(), summaries, containers, volumes, types))


ROUTES = [
    Route("GET", "/_ping", ping),
    Route("HEAD", "/_ping", ping),
    Route("GET", "/version", version),
    Route("GET", "/info", info),
    Route("GET", "/system/df", disk_usage),
]
