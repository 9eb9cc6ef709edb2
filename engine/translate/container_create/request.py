"""Request of `POST /containers/create`: the whole body, checked, and the container's configuration that follows from it.

Invariant: what does not depend on the image is checked before the image is looked up, as in Docker. A field without a
meaning here is refused by its path.
"""

from collections.abc import Collection
from typing import Any

import msgspec

from agent.container.model import ContainerConfig, LogConfig, RestartPolicy
from agent.image.model import Image
from covey.container_runtime import BUILT_IN
from covey.errors import InvalidArgumentError
from covey.log_driver import validate_log_config
from engine.translate.container_create import devices, mounts, namespaces, networking, security
from engine.translate.container_create.config import UserConfig, merged, read_config
from engine.translate.field_table import INTEGER, TEXT, TEXT_MAP_ALWAYS, FieldTable, Row
from engine.translate.json_fields import JsonFields
from engine.translate.resource_limits import HostCapacity, check_limits, read_limits

_SHORT_ID = 12

RESTART_POLICY = FieldTable(
    RestartPolicy,
    (
        Row(key="Name", field="name", codec=TEXT, always=True),
        Row(key="MaximumRetryCount", field="maximum_retries", codec=INTEGER, always=True),
    ),
)
LOG_CONFIG = FieldTable(
    LogConfig,
    (
        Row(key="Type", field="driver", codec=TEXT, always=True),
        Row(key="Config", field="options", codec=TEXT_MAP_ALWAYS, always=True),
    ),
)


class CreateRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A checked request. ``values`` are the fields of the configuration that do not depend on the image."""

    config: UserConfig
    values: dict[str, Any]
    warnings: tuple[str, ...] = ()


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """What the daemon gives a new container."""

    id: str
    name: str
    created_at_ns: int
    hostname: str
    """The host's own name, for containers that share its network or its UTS namespace."""


def read_request(body: Any, host: HostCapacity, runtimes: Collection[str] = BUILT_IN) -> CreateRequest:
    """Check a body. `runtimes` are the names of the host's. Raises InvalidArgumentError or UnsupportedError."""
    fields = JsonFields(body)
    if not body:
        raise InvalidArgumentError("Config cannot be empty in order to create a container")
    _refuse_null_bytes(body)
    config = read_config(fields)
    host_config = fields.child("HostConfig") or JsonFields({}, "HostConfig")
    endpoints = fields.child("NetworkingConfig")
    limits = read_limits(host_config)
    network = networking.read_networking(host_config, endpoints, config)
    values = {
        "resources": limits,
        **network,
        **security.read_security(host_config),
        **namespaces.read_namespaces(host_config, hostname=config.hostname),
        **devices.read_devices(host_config),
        **mounts.read_mounts(host_config),
        **_read_daemon_options(host_config, runtimes),
    }
    if not values["security_options"] and "host" in {values["ipc_mode"], values["pid_mode"]}:
        values["security_options"] = security.UNLABELLED
    for part in (fields, host_config, endpoints):
        if part is not None:
            part.refuse_unsupported()
    warnings = (
        *check_limits(limits, host),
        *networking.network_warnings(network["network_mode"], network["port_bindings"]),
    )
    return CreateRequest(config=config, values=values, warnings=warnings)


def _refuse_null_bytes(body: Any) -> None:
    """No path, name or variable of the kernel can hold a null byte. Labels and annotations can."""
    values = [("", body)]
    while values:
        path, value = values.pop()
        if isinstance(value, str) and "\0" in value:
            raise InvalidArgumentError(f"invalid value of {path}: {value!r} contains a null byte")
        if isinstance(value, dict):
            values += [(key, item) for key, item in value.items() if key not in {"Labels", "Annotations"}]
            values += [(path or key, key) for key in value]
        elif isinstance(value, list):
            values += [(path, item) for item in value]


def container_config(request: CreateRequest, image: Image, identity: Identity) -> ContainerConfig:
    """The configuration of the container. Raises InvalidArgumentError if it has no command."""
    shares_name = request.values["network_mode"] == networking.HOST or request.values["uts_mode"] == namespaces.HOST
    defaults = merged(
        request.config, image.config, hostname=identity.hostname if shares_name else identity.id[:_SHORT_ID]
    )
    own_mounts = request.values["mounts"]
    taken = {*(mount.target for mount in own_mounts), *request.values["tmpfs"]}
    values = {
        **request.values,
        **defaults,
        "mounts": (*own_mounts, *mounts.volume_path_mounts(defaults["volume_paths"], taken)),
    }
    return ContainerConfig(
        id=identity.id,
        name=identity.name,
        created_at_ns=identity.created_at_ns,
        image=request.config.image,
        image_id=image.id,
        **values,
    )


def _read_daemon_options(fields: JsonFields, runtimes: Collection[str]) -> dict[str, Any]:
    restart = _restart_policy(fields)
    auto_remove = fields.flag("AutoRemove")
    if auto_remove and restart.name != "no":
        raise InvalidArgumentError("can't create 'AutoRemove' container with restart policy")
    log = fields.read("LogConfig", LOG_CONFIG.read) or LogConfig()
    validate_log_config(log.driver, log.options)
    runtime = fields.text("Runtime")
    if runtime and runtime not in runtimes:
        raise InvalidArgumentError(f"unknown or invalid runtime name: {runtime}")
    isolation = fields.text("Isolation")
    if isolation.lower() not in {"", "default"}:
        raise InvalidArgumentError(f"invalid isolation '{isolation}', linux only supports 'default'")
    return {
        "auto_remove": auto_remove,
        "restart": restart,
        "log": log,
        "runtime": runtime,
        "isolation": isolation,
        "init": fields.flag("Init") if fields.has("Init") else None,
        "annotations": _annotations(fields),
        "cgroup_parent": fields.text("CgroupParent"),
        "container_id_file": fields.text("ContainerIDFile"),
        "console_size": _console_size(fields),
    }


def _restart_policy(fields: JsonFields) -> RestartPolicy:
    """The policy; one without a name is none, whatever its count, as clients before API 1.44 send it."""
    named = fields.child("RestartPolicy")
    policy = fields.read("RestartPolicy", RESTART_POLICY.read)
    if policy is None or named is None or not named.text("Name"):
        return RestartPolicy()
    check_restart_policy(policy)
    return policy


def check_restart_policy(policy: RestartPolicy) -> None:
    """Raises InvalidArgumentError in Docker's words."""
    if policy.name not in {"no", "on-failure", "always", "unless-stopped"}:
        raise InvalidArgumentError(
            f"invalid restart policy: unknown policy '{policy.name}'; use one of 'no', 'always', 'on-failure', or 'unless-stopped'"
        )
    if policy.maximum_retries and policy.name != "on-failure":
        raise InvalidArgumentError("invalid restart policy: maximum retry count can only be used with 'on-failure'")
    if policy.maximum_retries < 0:
        raise InvalidArgumentError("invalid restart policy: maximum retry count cannot be negative")


def _annotations(fields: JsonFields) -> dict[str, str]:
    annotations = fields.text_map("Annotations")
    if "" in annotations:
        raise InvalidArgumentError("invalid Annotations: the empty string is not permitted as an annotation key")
    return annotations


def _console_size(fields: JsonFields) -> tuple[int, int]:
    value = fields.raw("ConsoleSize")
    if value is None:
        return 0, 0
    if (
        not isinstance(value, list)
        or len(value) != 2
        or not all(type(item) is int and 0 <= item < 65536 for item in value)
    ):
        raise InvalidArgumentError(f"{fields.path_of('ConsoleSize')} must be a list of height and width")
    return value[0], value[1]
