"""The ``deploy`` section of a Compose service as parts of a service spec. Pure."""

from typing import Any

import msgspec

from cli.parse.service_choices import (
    ENDPOINT_MODES,
    FAILURE_ACTIONS,
    MODES,
    ORDERS,
    RESTART_CONDITIONS,
    ROLLBACK_FAILURE_ACTIONS,
)
from cli.stack.section import Section
from covey.errors import InvalidArgumentError
from covey.quantities import NANO


class DeploySection(msgspec.Struct, frozen=True, kw_only=True):
    """Parts of a service spec; None where the Compose file sets nothing."""

    mode: dict[str, Any]
    labels: dict[str, str]
    endpoint_mode: str
    resources: dict[str, Any] | None
    restart: dict[str, Any] | None
    placement: dict[str, Any] | None
    update: dict[str, Any] | None
    rollback: dict[str, Any] | None


def read_deploy_section(section: Section) -> DeploySection:
    """Read the ``deploy`` section; unknown keys are refused."""
    result = DeploySection(
        mode=_mode(section),
        labels=section.text_map("labels"),
        endpoint_mode=section.choice("endpoint_mode", ENDPOINT_MODES),
        resources=_resources(section.section("resources")),
        restart=_restart(section.section("restart_policy")) if section.has("restart_policy") else None,
        placement=_placement(section.section("placement")),
        update=_update(section.section("update_config"), FAILURE_ACTIONS) if section.has("update_config") else None,
        rollback=_update(section.section("rollback_config"), ROLLBACK_FAILURE_ACTIONS)
        if section.has("rollback_config")
        else None,
    )
    section.reject_unread()
    return result


def legacy_restart_policy(service: Section) -> dict[str, Any] | None:
    """The restart policy of the legacy key ``restart``: no, always, unless-stopped, on-failure[:N]."""
    text = service.raw("restart")
    if text is None:
        return None
    name, _, count = str(text).partition(":")
    if text is False or name == "no":
        return {"Condition": "none"}
    if name in ("always", "unless-stopped") and not count:
        return {"Condition": "any"}
    if name == "on-failure" and (not count or count.isdecimal()):
        return {"Condition": "on-failure", **({"MaxAttempts": int(count)} if count else {})}
    raise InvalidArgumentError(
        f"{service.key_path('restart')}: unknown restart policy {text!r}; use deploy.restart_policy"
    )


def _mode(section: Section) -> dict[str, Any]:
    mode = section.choice("mode", tuple(MODES), "replicated")
    replicas = section.integer("replicas")
    if replicas is not None and replicas < 0:
        raise InvalidArgumentError(f"{section.key_path('replicas')} must not be negative")
    if mode.startswith("global"):
        if replicas is not None:
            raise InvalidArgumentError(f"{section.key_path('replicas')} can only be used with replicated mode")
        return {MODES[mode]: {}}
    count = 1 if replicas is None else replicas
    if mode == "replicated-job":
        return {"ReplicatedJob": {"MaxConcurrent": count, "TotalCompletions": count}}
    return {"Replicated": {"Replicas": count}}


def _resources(section: Section) -> dict[str, Any] | None:
    limits, reservations = section.section("limits"), section.section("reservations")
    result = {"Limits": _cpu_and_memory(limits), "Reservations": _cpu_and_memory(reservations)}
    pids = limits.integer("pids")
    if pids is not None:
        result["Limits"]["Pids"] = pids
    generic = [
        {"DiscreteResourceSpec": {"Kind": item.text("kind"), "Value": item.integer("value")}}
        for outer in reservations.sections("generic_resources", lambda text, _: {"discrete_resource_spec": text})
        for item in [outer.section("discrete_resource_spec")]
    ]
    if generic:
        result["Reservations"]["GenericResources"] = generic
    for part in (limits, reservations, section):
        part.reject_unread()
    return {key: value for key, value in result.items() if value} or None


def _cpu_and_memory(section: Section) -> dict[str, Any]:
    cpus, memory = section.decimal("cpus"), section.size("memory")
    return {
        **({"NanoCPUs": round(cpus * NANO)} if cpus else {}),
        **({"MemoryBytes": memory} if memory else {}),
    }


def _restart(section: Section) -> dict[str, Any]:
    values = {
        "Condition": section.choice("condition", RESTART_CONDITIONS),
        "Delay": section.duration("delay"),
        "MaxAttempts": section.integer("max_attempts"),
        "Window": section.duration("window"),
    }
    section.reject_unread()
    return {key: value for key, value in values.items() if value not in (None, "")}


def _placement(section: Section) -> dict[str, Any] | None:
    preferences = []
    for item in section.sections("preferences", lambda text, _: {"spread": text}):
        preferences.append({"Spread": {"SpreadDescriptor": item.text("spread")}})
        item.reject_unread()
    values = {
        "Constraints": section.text_list("constraints"),
        "Preferences": preferences,
        "MaxReplicas": section.integer("max_replicas_per_node"),
    }
    section.reject_unread()
    return {key: value for key, value in values.items() if value} or None


def _update(section: Section, actions: tuple[str, ...]) -> dict[str, Any]:
    parallelism = section.integer("parallelism")
    values = {
        "Parallelism": 1 if parallelism is None else parallelism,
        "Delay": section.duration("delay"),
        "FailureAction": section.choice("failure_action", actions),
        "Monitor": section.duration("monitor"),
        "MaxFailureRatio": section.decimal("max_failure_ratio"),
        "Order": section.choice("order", ORDERS),
    }
    section.reject_unread()
    return {key: value for key, value in values.items() if value not in (None, "")}
