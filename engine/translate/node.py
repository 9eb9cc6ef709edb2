"""Docker's Node and NodeSpec and ours."""

from typing import Any

from covey.errors import InvalidArgumentError
from covey.objects import Node, NodeSpec
from covey.objects.base import Annotations
from covey.states import NodeAvailability, NodeRole
from engine.translate import enum_names
from engine.translate.enum_names import enum_name
from engine.translate.json_fields import JsonFields, omit_empty
from engine.translate.swarm import write_tls
from engine.translate.task_spec import PLATFORM, RESOURCES
from engine.translate.times import rfc3339


def read_spec(body: Any) -> NodeSpec:
    """Role and availability must both be there, as Docker wants it: the body is the whole new spec."""
    fields = JsonFields(body)
    for name, table in (("Role", enum_names.ROLES), ("Availability", enum_names.AVAILABILITIES)):
        value = fields.text(name)
        if value not in table:
            raise InvalidArgumentError(f"invalid {name}: {value!r}; use one of {', '.join(table)}")
    spec = NodeSpec(
        annotations=Annotations(name=fields.text("Name"), labels=fields.text_map("Labels")),
        desired_role=fields.choice("Role", enum_names.ROLES, NodeRole.WORKER),
        availability=fields.choice("Availability", enum_names.AVAILABILITIES, NodeAvailability.ACTIVE),
    )
    fields.refuse_unknown()
    return spec


def write_spec(spec: NodeSpec) -> dict[str, Any]:
    return {
        **omit_empty(Name=spec.annotations.name),
        "Labels": spec.annotations.labels,
        "Role": enum_name(spec.desired_role),
        "Availability": enum_name(spec.availability),
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
            "Platform": PLATFORM.write(description.platform),
            "Resources": RESOURCES.write(description.resources),
            "Engine": {
                "EngineVersion": description.engine.version,
                **omit_empty(Labels=description.engine.labels or None),
                "Plugins": [{"Type": "Network", "Name": "overlay"}, {"Type": "Volume", "Name": "local"}],
            },
            "TLSInfo": write_tls(description.tls),
        },
        "Status": {
            "State": enum_name(node.status.state),
            **omit_empty(Message=node.status.message),
            "Addr": node.status.addr,
        },
    }
    if manager is not None:
        result["ManagerStatus"] = {
            **omit_empty(Leader=manager.leader),
            "Reachability": enum_name(manager.reachability),
            "Addr": f"{manager.addr.rpartition(':')[0]}:{join_port}" if manager.addr else "",
        }
    return result
