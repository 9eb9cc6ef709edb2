"""Docker's TaskSpec and ours, both ways: resources, restarts, placement, networks, logging."""

from typing import Any

from covey.errors import InvalidArgumentError
from covey.objects import (
    NetworkAttachmentConfig,
    Placement,
    Platform,
    ResourceRequirements,
    Resources,
    RestartPolicy,
    TaskSpec,
)
from covey.states import RestartCondition
from engine.translate import container_spec, enum_names
from engine.translate.enum_names import enum_name
from engine.translate.json_fields import JsonFields, omit_empty


def read(fields: JsonFields) -> TaskSpec:
    fields.constant("Runtime", "container")
    container = fields.read("ContainerSpec", container_spec.read)
    if container is None:
        raise InvalidArgumentError(f"{fields.path_of('ContainerSpec')} is missing: a service runs containers")
    return TaskSpec(
        container=container,
        resources=fields.read("Resources", _read_requirements),
        restart=fields.read("RestartPolicy", _read_restart),
        placement=fields.read("Placement", _read_placement),
        networks=fields.read_all("Networks", read_attachment),
        log_driver=fields.read("LogDriver", container_spec.read_driver),
        force_update=fields.count("ForceUpdate"),
    )


def write(spec: TaskSpec) -> dict[str, Any]:
    result = omit_empty(
        ContainerSpec=container_spec.write(spec.container),
        Resources=None if spec.resources is None else _write_requirements(spec.resources),
        RestartPolicy=None if spec.restart is None else _write_restart(spec.restart),
        Placement=None if spec.placement is None else _write_placement(spec.placement),
        Networks=[_write_attachment(item) for item in spec.networks],
        LogDriver=None if spec.log_driver is None else container_spec.write_driver(spec.log_driver),
    )
    result["ForceUpdate"] = spec.force_update
    result["Runtime"] = "container"
    return result


def write_resources(resources: Resources) -> dict[str, Any]:
    return omit_empty(
        NanoCPUs=resources.nano_cpus,
        MemoryBytes=resources.memory_bytes,
        Pids=resources.pids,
        GenericResources=[
            {"DiscreteResourceSpec": {"Kind": kind, "Value": count}}
            for kind, count in sorted(resources.generic.items())
        ],
    )


def read_attachment(fields: JsonFields) -> NetworkAttachmentConfig:
    target = fields.text("Target")
    if not target:
        raise InvalidArgumentError(f"{fields.path_of('Target')} must name a network")
    return NetworkAttachmentConfig(
        target=target,
        aliases=fields.text_list("Aliases"),
        addresses=fields.text_list("Addresses"),
        driver_options=fields.text_map("DriverOpts"),
    )


def _write_attachment(item: NetworkAttachmentConfig) -> dict[str, Any]:
    return omit_empty(
        Target=item.target,
        Aliases=list(item.aliases),
        Addresses=list(item.addresses),
        DriverOpts=item.driver_options or None,
    )


def _read_requirements(fields: JsonFields) -> ResourceRequirements:
    return ResourceRequirements(
        limits=fields.read("Limits", _read_resources), reservations=fields.read("Reservations", _read_resources)
    )


def _write_requirements(item: ResourceRequirements) -> dict[str, Any]:
    return omit_empty(
        Limits=None if item.limits is None else write_resources(item.limits),
        Reservations=None if item.reservations is None else write_resources(item.reservations),
    )


def _read_resources(fields: JsonFields) -> Resources:
    return Resources(
        nano_cpus=fields.count("NanoCPUs"),
        memory_bytes=fields.count("MemoryBytes"),
        pids=fields.count("Pids"),
        generic=dict(fields.read_all("GenericResources", _read_generic)),
    )


def _read_generic(fields: JsonFields) -> tuple[str, int]:
    found = fields.read("DiscreteResourceSpec", lambda item: (item.text("Kind"), item.count("Value")))
    fields.refuse_unknown()
    if found is None or not found[0]:
        raise InvalidArgumentError(f"{fields.path} must hold a DiscreteResourceSpec with a Kind")
    return found


def _read_restart(fields: JsonFields) -> RestartPolicy:
    defaults = RestartPolicy()
    return RestartPolicy(
        condition=fields.choice("Condition", enum_names.RESTART_CONDITIONS, RestartCondition.ANY),
        delay_ns=fields.count("Delay", defaults.delay_ns),
        max_attempts=fields.count("MaxAttempts"),
        window_ns=fields.count("Window"),
    )


def _write_restart(restart: RestartPolicy) -> dict[str, Any]:
    return {
        "Condition": enum_name(restart.condition),
        "Delay": restart.delay_ns,
        "MaxAttempts": restart.max_attempts,
        **omit_empty(Window=restart.window_ns),
    }


def _read_placement(fields: JsonFields) -> Placement:
    return Placement(
        constraints=fields.text_list("Constraints"),
        preferences=fields.read_all("Preferences", _read_preference),
        max_replicas=fields.count("MaxReplicas"),
        platforms=fields.read_all("Platforms", _read_platform),
    )


def _write_placement(item: Placement) -> dict[str, Any]:
    return omit_empty(
        Constraints=list(item.constraints),
        Preferences=[{"Spread": {"SpreadDescriptor": text}} for text in item.preferences],
        MaxReplicas=item.max_replicas,
        Platforms=[write_platform(platform) for platform in item.platforms],
    )


def _read_preference(fields: JsonFields) -> str:
    return fields.read("Spread", lambda spread: spread.text("SpreadDescriptor")) or ""


def _read_platform(fields: JsonFields) -> Platform:
    return Platform(architecture=fields.text("Architecture"), os=fields.text("OS"))


def write_platform(item: Platform) -> dict[str, Any]:
    return omit_empty(Architecture=item.architecture, OS=item.os)
