"""The text of a stack's deployment plan: what ``stack diff`` and ``stack deploy --dry-run`` print. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from cli.stack.changes import FieldChange, field_changes, restart_reason
from cli.stack.plan import Item, StackPlan, comparable, named
from compose.stack.labels import STACK_KEY_LABEL
from compose.stack.model import StackNetwork

_NETWORK_FIELDS = ("Driver", "Internal", "Attachable", "Labels")


def report(plan: StackPlan, *, drift: bool) -> list[str]:
    """The lines of a plan; empty if nothing differs.

    Args:
        plan: the plan.
        drift: also name what differs and is not changed by a deployment.
    """
    lines = [f"+ network {network.name}" for network in plan.networks]
    for kind, files in plan.files.items():
        lines += [f"+ {kind} {file.name}" for file in files.create]
        for current, file in files.update:
            changes = field_changes(current["Spec"].get("Labels") or {}, file.labels, "Labels")
            lines += [f"~ {kind} {file.name}", *_indented(changes)] if changes else []
    for service in plan.services.create:
        lines.append(created_service(service.name, service.spec))
    for item, service in plan.services.update:
        lines += updated_service(service.name, item["Spec"], service.spec, plan.network_names)
    lines += [f"- service {item['Spec']['Name']}" for item in plan.services.prune]
    lines += [f"- {kind} {item['Spec']['Name']}: old version" for kind, item in plan.old_files]
    return [*lines, *_drift(plan)] if drift else lines


def unread_secrets(plan: StackPlan) -> list[str]:
    """The secrets whose content only a deployment compares: they exist and their names do not tell it."""
    created = {file.name for file in plan.files["secret"].create}
    return [
        file.name
        for file in plan.stack.secrets
        if not file.external and file.name not in created and STACK_KEY_LABEL not in file.labels
    ]


def created_service(name: str, spec: Item) -> str:
    """The line about a new service."""
    return f"+ service {name}: {_tasks(spec)}"


def updated_service(name: str, before: Item, after: Item, network_names: Mapping[str, str]) -> Iterator[str]:
    """The lines about a service with another spec. ``network_names`` are the names of the networks by id."""
    changes = field_changes(comparable(named(before, network_names)), comparable(named(after, network_names)))
    reason = restart_reason(changes)
    yield f"~ service {name}: " + (f"restarts its tasks: {reason}" if reason else "restarts no task")
    yield from _indented(changes)


def _indented(changes: Sequence[FieldChange]) -> list[str]:
    return [f"    {change}" for change in changes]


def _tasks(spec: Item) -> str:
    mode = spec.get("Mode") or {}
    if "Replicated" not in mode:
        return "one task on every node" if "Global" in mode else "a job"
    count = mode["Replicated"].get("Replicas", 1)
    return f"{count} task{'' if count == 1 else 's'}"


def _drift(plan: StackPlan) -> list[str]:
    lines = [
        f"! service {item['Spec']['Name']} is not in the files: removed with --prune" for item in plan.unknown_services
    ]
    for current, network in plan.kept_networks:
        if changes := network_changes(current, network):
            lines += [f"! network {network.name} differs: remove it before it is created anew", *_indented(changes)]
    return lines


def network_changes(current: Item, network: StackNetwork) -> list[FieldChange]:
    """The fields of a network that differ from the files; options that the daemon added do not count."""
    found: dict[str, Any] = {key: current.get(key) for key in _NETWORK_FIELDS}
    wanted: dict[str, Any] = {key: network.body.get(key) for key in _NETWORK_FIELDS}
    wanted["Options"] = network.body.get("Options") or {}
    found["Options"] = {key: (current.get("Options") or {}).get(key) for key in wanted["Options"]}
    subnets = [pool["Subnet"] for pool in (network.body.get("IPAM") or {}).get("Config") or ()]
    if subnets:
        wanted["Subnets"] = subnets
        found["Subnets"] = [pool.get("Subnet") for pool in (current.get("IPAM") or {}).get("Config") or ()]
    return field_changes(found, wanted)
