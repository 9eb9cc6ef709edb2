"""Docker's Node and NodeSpec and ours."""

from typing import Any

from covey.errors import InvalidArgumentError
from covey.objects import Node, NodeSpec
from covey.objects.base import Annotations
from covey.states import NodeAvailability, NodeRole
from engine.translate import task_spec, words
from engine.translate.fields import Fields, compact
from engine.translate.swarm import write_tls
from engine.translate.times import rfc3339
from engine.translate.words import word


def read_spec(body: Any) -> NodeSpec:
    """Role and availability must both be there, as Docker wants it: the body is the whole new spec."""
    fields = Fields(body)
    for name, table in (("Role", words.ROLES), ("Availability", words.AVAILABILITIES)):
        value = fields.text(name)
        if value not in table:
            raise InvalidArgumentError(f"invalid {name}: {value!r}; use one of {', '.join(table)}")
    spec = NodeSpec(
        annotations=Annotations(name=fields.text("Name"), labels=fields.text_map("Labels")),
        desired_role=fields.choice("Role", words.ROLES, NodeRole.WORKER),
        availability=fields.choice("Availability", words.AVAILABILITIES, NodeAvailability.ACTIVE),
    )
    fields.done()
    return spec


def write_spec(spec: NodeSpec) -> dict[str, Any]:
    return {
        **compact(Name=spec.annotations.name),
        "Labels": spec.annotations.labels,
        "Role": word(spec.desired_role),
        "Availability": word(spec.availability),
    }


def write(node: Node, join_port: int) -> dict[str, Any]:
    """``join_port``: clients print a manager's address for ``swarm join``, so it must be that of the listener that admits."""
    description, manager = node.description, node.manager_status
    result = {
        "ID": node.id,
        "Version": {"Index": node.meta.version},
        "CreatedAt": rfc3339(node.meta.created_at_ns),
        "UpdatedAt": rfc3339(node.meta.updated_at_ns),
        "Spec": write_spec(node.spec),
        "Description": {
            "Hostname": description.hostname,
            "Platform": task_spec.write_platform(description.platform),
            "Resources": task_spec.write_resources(description.resources),
            "Engine": {
                "EngineVersion": description.engine.version,
                **compact(Labels=description.engine.labels or None),
                "Plugins": [{"Type": "Network", "Name": "overlay"}, {"Type": "Volume", "Name": "local"}],
            },
            "TLSInfo": write_tls(description.tls),
        },
        "Status": {"State": word(node.status.state), **compact(Message=node.status.message), "Addr": node.status.addr},
    }
    if manager is not None:
        result["ManagerStatus"] = {
            **compact(Leader=manager.leader),
            "Reachability": word(manager.reachability),
            "Addr": f"{manager.addr.rpartition(':')[0]}:{join_port}" if manager.addr else "",
        }
    return result
