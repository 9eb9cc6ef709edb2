"""The ``deploy`` section and the ``restart`` key of a canonical service as parts of its spec. Pure."""

from collections.abc import Mapping
from decimal import Decimal, DecimalException
from typing import Any

from covey.errors import InvalidArgumentError
from covey.quantities import NANO, parse_duration

Values = Mapping[str, Any]
_JOBS = {"replicated-job": "ReplicatedJob", "global-job": "GlobalJob"}


def service_mode(deploy: Values) -> dict[str, Any]:
    """The mode and the replicas.

    Raises:
        InvalidArgumentError: an unknown mode, replicas of a global service, or an update policy of a job.
    """
    mode, replicas = deploy.get("mode", ""), deploy.get("replicas")
    for key in ("update_config", "rollback_config") if mode in _JOBS else ():
        if deploy.get(key) is not None:
            raise InvalidArgumentError(f"deploy.{key}: update and rollback configuration is not supported for jobs")
    if mode in ("global", "global-job"):
        if replicas is not None:
            raise InvalidArgumentError("replicas can only be used with replicated or replicated-job mode")
        return {"Global" if mode == "global" else "GlobalJob": {}}
    if mode == "replicated-job":
        return {
            "ReplicatedJob": {"MaxConcurrent": replicas, "TotalCompletions": replicas} if replicas is not None else {}
        }
    if mode in ("", "replicated"):
        return {"Replicated": {"Replicas": replicas} if replicas is not None else {}}
    raise InvalidArgumentError(f"unknown mode: {mode}")


def restart_policy(deploy: Values, legacy: str) -> dict[str, Any] | None:
    """The restart policy; the key ``restart`` of the service applies without ``deploy.restart_policy``.

    Raises:
        InvalidArgumentError: an unknown policy.
    """
    policy = deploy.get("restart_policy")
    if policy is None:
        return _legacy_policy(legacy)
    values = {
        "Condition": policy.get("condition"),
        "Delay": duration(policy, "delay"),
        "MaxAttempts": policy.get("max_attempts"),
        "Window": duration(policy, "window"),
    }
    return present(values)


def _legacy_policy(text: str) -> dict[str, Any] | None:
    name, _, count = text.partition(":")
    if not text or name in ("no", "none"):
        return {"Condition": "none"} if name == "no" else None
    if name in ("always", "unless-stopped"):
        return {"Condition": "any"}
    if name == "on-failure" and (not count or count.isdecimal()):
        return {"Condition": "on-failure", **({"MaxAttempts": int(count)} if count else {})}
    raise InvalidArgumentError(f"unknown restart policy: {text}")


def update_config(policy: Values | None) -> dict[str, Any] | None:
    """An update or rollback configuration; parallelism is 1 unless set."""
    if policy is None:
        return None
    values = {
        "Parallelism": policy.get("parallelism", 1),
        "Delay": duration(policy, "delay"),
        "FailureAction": policy.get("failure_action"),
        "Monitor": duration(policy, "monitor"),
        "MaxFailureRatio": policy.get("max_failure_ratio", 0),
        "Order": policy.get("order", ""),
    }
    return present(values)


def resources(deploy: Values) -> dict[str, Any] | None:
    """Limits and reservations."""
    declared = deploy.get("resources", {})
    result = {
        "Limits": _quantities(declared.get("limits"), pids=True),
        "Reservations": _quantities(declared.get("reservations"), pids=False),
    }
    return present(result) or None


def _quantities(values: Values | None, *, pids: bool) -> dict[str, Any] | None:
    if values is None:
        return None
    generic = [
        {
            "DiscreteResourceSpec": {
                "Kind": item["discrete_resource_spec"].get("kind", ""),
                "Value": item["discrete_resource_spec"].get("value", 0),
            }
        }
        for item in values.get("generic_resources") or ()
        if "discrete_resource_spec" in item
    ]
    result = {
        "NanoCPUs": nano_cpus(values["cpus"]) if values.get("cpus") else None,
        "MemoryBytes": int(values["memory"]) if values.get("memory") else None,
        "Pids": values.get("pids") if pids else None,
        "GenericResources": generic or None,
    }
    return present(result) or None


def nano_cpus(text: str) -> int:
    """Billionths of a CPU.

    Raises:
        InvalidArgumentError: not a number, or finer than a billionth.
    """
    try:
        value = Decimal(text) * NANO
    except DecimalException:
        raise InvalidArgumentError(f"failed to parse value as a rational number: {text}") from None
    if not value.is_finite() or abs(value) >= 1 << 63:
        raise InvalidArgumentError(f"{text} is not a number of CPUs such as 0.5")
    if value != int(value):
        raise InvalidArgumentError("value is too precise")
    return int(value)


def placement(deploy: Values) -> dict[str, Any] | None:
    declared = deploy.get("placement", {})
    preferences = [
        {"Spread": {"SpreadDescriptor": item.get("spread", "")}} for item in declared.get("preferences") or ()
    ]
    values = {
        "Constraints": declared.get("constraints"),
        "Preferences": preferences or None,
        "MaxReplicas": declared.get("max_replicas_per_node"),
    }
    return present(values) or None


def duration(values: Values, key: str) -> int | None:
    """Nanoseconds of a duration of the canonical form; None if it is not set."""
    return parse_duration(values[key]) if key in values else None


def present(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values that are set."""
    return {key: value for key, value in values.items() if value is not None}
