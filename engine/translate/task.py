"""A task as Docker's JSON."""

from collections.abc import Mapping
from typing import Any

from covey.objects import Network, Resources, Task
from engine.translate import network as network_json
from engine.translate.enum_names import enum_name
from engine.translate.json_fields import omit_empty
from engine.translate.service import PORT_CONFIG
from engine.translate.task_spec import TASK_SPEC, write_generic
from engine.translate.times import rfc3339


def write(task: Task, networks: Mapping[str, Network]) -> dict[str, Any]:
    """A task as clients see it. ``networks`` are by id; Docker shows the whole networks of a task."""
    return {
        "ID": task.id,
        "Version": {"Index": task.meta.version},
        "CreatedAt": rfc3339(task.meta.created_at_ns),
        "UpdatedAt": rfc3339(task.meta.updated_at_ns),
        **omit_empty(Name=task.annotations.name),
        "Labels": task.annotations.labels,
        "Spec": {key: value for key, value in TASK_SPEC.write(task.spec).items() if key != "Runtime"},
        "ServiceID": task.service_id,
        **omit_empty(Slot=task.slot, NodeID=task.node_id, **_claimed(task)),
        "Status": _write_status(task),
        "DesiredState": enum_name(task.desired_state),
        **omit_empty(
            NetworksAttachments=[
                {
                    "Network": network_json.write_task_network(networks[item.network_id]),
                    "Addresses": [text for text in (item.address, item.address6) if text],
                }
                for item in task.networks
                if item.network_id in networks
            ],
            JobIteration=None if task.job_iteration is None else omit_empty(Index=task.job_iteration),
        ),
    }


def _claimed(task: Task) -> dict[str, Any]:
    """The generic resources that the task holds, under the key that Docker's engine has and under the one of its specification."""
    items = write_generic(task.generic_resources or Resources()).get("GenericResources")
    return {"GenericResources": items, "AssignedGenericResources": items}


def _write_status(task: Task) -> dict[str, Any]:
    status, container = task.status, task.status.container
    return {
        "Timestamp": rfc3339(status.timestamp_ns),
        "State": enum_name(status.state),
        "Message": status.message,
        **omit_empty(
            Err=status.error,
            ContainerStatus=None
            if container is None
            else {"ContainerID": container.container_id, "PID": container.pid, "ExitCode": container.exit_code},
        ),
        "PortStatus": omit_empty(Ports=[PORT_CONFIG.write(port) for port in status.ports]),
    }
