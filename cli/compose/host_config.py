"""``HostConfig`` of a service's container. Pure."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from cli.compose import mounts, networking
from cli.compose.model import Application
from covey.errors import InvalidArgumentError

if TYPE_CHECKING:
    from cli.compose.container_body import ContainerRequest

Values = Mapping[str, Any]
_NANO = 1_000_000_000
# Keys that are one value of HostConfig.
_PLAIN = {
    "cgroup": "CgroupnsMode",
    "cgroup_parent": "CgroupParent",
    "cpu_count": "CpuCount",
    "cpu_percent": "CpuPercent",
    "cpu_period": "CpuPeriod",
    "cpu_quota": "CpuQuota",
    "cpu_rt_period": "CpuRealtimePeriod",
    "cpu_rt_runtime": "CpuRealtimeRuntime",
    "cpu_shares": "CpuShares",
    "cpuset": "CpusetCpus",
    "device_cgroup_rules": "DeviceCgroupRules",
    "dns": "Dns",
    "dns_opt": "DnsOptions",
    "dns_search": "DnsSearch",
    "group_add": "GroupAdd",
    "init": "Init",
    "isolation": "Isolation",
    "oom_kill_disable": "OomKillDisable",
    "oom_score_adj": "OomScoreAdj",
    "pids_limit": "PidsLimit",
    "privileged": "Privileged",
    "read_only": "ReadonlyRootfs",
    "runtime": "Runtime",
    "storage_opt": "StorageOpt",
    "sysctls": "Sysctls",
    "annotations": "Annotations",
    "userns_mode": "UsernsMode",
    "uts": "UTSMode",
}
_SIZES = {
    "mem_limit": "Memory",
    "mem_reservation": "MemoryReservation",
    "memswap_limit": "MemorySwap",
    "mem_swappiness": "MemorySwappiness",
    "shm_size": "ShmSize",
}


def host_config(application: Application, service: Values, request: "ContainerRequest") -> dict[str, Any]:
    """The section.

    Raises:
        InvalidArgumentError: a restart policy that does not exist, or an object that cannot be mounted.
    """
    result: dict[str, Any] = {name: service[key] for key, name in _PLAIN.items() if key in service}
    result |= {name: int(service[key]) for key, name in _SIZES.items() if key in service}
    result |= _resources(service)
    result["NetworkMode"] = networking.network_mode(application, service, request)
    for key, name in (("ipc", "IpcMode"), ("pid", "PidMode")):
        if service.get(key):
            result[name] = networking.shared_namespace(str(service[key]), request)
    if given := networking.links(service, request):
        result["Links"] = given
    if service.get("ports"):
        result["PortBindings"] = networking.port_bindings(service)
    if hosts := service.get("extra_hosts"):
        result["ExtraHosts"] = [host.replace("=", ":", 1) for host in hosts]
    for key, name in (("cap_add", "CapAdd"), ("cap_drop", "CapDrop")):
        if service.get(key):
            result[name] = [_capability(text) for text in service[key]]
    if policy := _restart_policy(service):
        result["RestartPolicy"] = policy
    if logging := service.get("logging"):
        result["LogConfig"] = {"Type": logging.get("driver", ""), "Config": logging.get("options") or {}}
    if devices := service.get("devices"):
        result["Devices"] = [
            {"PathOnHost": item["source"], "PathInContainer": item["target"], "CgroupPermissions": item["permissions"]}
            for item in devices
        ]
    if limits := service.get("ulimits"):
        result["Ulimits"] = [_ulimit(name, value) for name, value in limits.items()]
    if profiles := _security_options(service, request):
        result["SecurityOpt"] = profiles
    if requests := _device_requests(service):
        result["DeviceRequests"] = requests
    return {**result, **_block_io(service), **mounts.mount_fields(application, service, request)}


def _resources(service: Values) -> dict[str, Any]:
    """Limits and reservations; those of ``deploy`` go before the keys of the service."""
    resources = (service.get("deploy") or {}).get("resources") or {}
    limits, reserved = resources.get("limits") or {}, resources.get("reservations") or {}
    result: dict[str, Any] = {}
    cpus = limits.get("cpus") or service.get("cpus")
    if cpus:
        result["NanoCpus"] = round(float(cpus) * _NANO)
    if limits.get("memory"):
        result["Memory"] = int(limits["memory"])
    if limits.get("pids"):
        result["PidsLimit"] = int(limits["pids"])
    if reserved.get("memory"):
        result["MemoryReservation"] = int(reserved["memory"])
    return result


def _restart_policy(service: Values) -> dict[str, Any]:
    if text := service.get("restart"):
        name, separator, count = str(text).partition(":")
        if separator and not count.isdigit():
            raise InvalidArgumentError(f"invalid restart policy {text!r}: the count of attempts is not a number")
        return {"Name": name, **({"MaximumRetryCount": int(count)} if count else {})}
    policy = (service.get("deploy") or {}).get("restart_policy")
    if not policy:
        return {}
    condition = policy.get("condition") or "any"
    name = {"any": "always", "none": "no"}.get(condition, condition)
    attempts = policy.get("max_attempts")
    return {"Name": name, **({"MaximumRetryCount": int(attempts)} if attempts and name == "on-failure" else {})}


def _capability(text: str) -> str:
    name = text.upper()
    return name if name == "ALL" or name.startswith("CAP_") else f"CAP_{name}"


def _ulimit(name: str, value: Any) -> dict[str, Any]:
    soft, hard = (value["soft"], value["hard"]) if isinstance(value, Mapping) else (value, value)
    return {"Name": name, "Soft": int(soft), "Hard": int(hard)}


def _security_options(service: Values, request: "ContainerRequest") -> list[str]:
    result = [_security_option(str(text), request) for text in service.get("security_opt") or ()]
    if spec := service.get("credential_spec"):
        result += [f"credentialspec={kind}://{value}" for kind, value in spec.items()]
    return result


def _security_option(text: str, request: "ContainerRequest") -> str:
    name, _, value = text.partition("=" if "=" in text else ":")
    if name == "seccomp" and value in request.seccomp:
        return f"seccomp={request.seccomp[value]}"
    return text


def seccomp_paths(service: Values) -> list[str]:
    """The files of seccomp profiles that a service names."""
    found = []
    for text in service.get("security_opt") or ():
        name, _, value = str(text).partition("=" if "=" in str(text) else ":")
        if name == "seccomp" and value not in ("", "unconfined", "builtin"):
            found.append(value)
    return found


def _device_requests(service: Values) -> list[dict[str, Any]]:
    reserved = ((service.get("deploy") or {}).get("resources") or {}).get("reservations") or {}
    listed = [*(service.get("gpus") or ()), *(reserved.get("devices") or ())]
    result = []
    for item in listed:
        capabilities = list(item.get("capabilities") or ())
        if item in (service.get("gpus") or ()) and "gpu" not in capabilities:
            capabilities.append("gpu")
        ids = list(item.get("device_ids") or ())
        result.append(
            {
                "Driver": item.get("driver", ""),
                "Count": 0 if ids else int(item.get("count", -1)),
                "DeviceIDs": ids,
                "Capabilities": [capabilities],
                "Options": item.get("options") or {},
            }
        )
    return result


def _block_io(service: Values) -> dict[str, Any]:
    config = service.get("blkio_config") or {}
    result: dict[str, Any] = {"BlkioWeight": config["weight"]} if config.get("weight") else {}
    if config.get("weight_device"):
        result["BlkioWeightDevice"] = [
            {"Path": item["path"], "Weight": item["weight"]} for item in config["weight_device"]
        ]
    for key, name in (
        ("device_read_bps", "BlkioDeviceReadBps"),
        ("device_write_bps", "BlkioDeviceWriteBps"),
        ("device_read_iops", "BlkioDeviceReadIOps"),
        ("device_write_iops", "BlkioDeviceWriteIOps"),
    ):
        if config.get(key):
            result[name] = [{"Path": item["path"], "Rate": int(item["rate"])} for item in config[key]]
    return result
