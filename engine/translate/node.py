"""Docker's Node: the field table of its spec, and a node as clients see it."""

from collections.abc import Callable, Mapping
from enum import IntEnum
from typing import Any

from covey.objects import Annotations, Node, NodeSpec
from engine.translate import enum_names
from engine.translate.enum_names import enum_name
from engine.translate.field_table import TEXT, TEXT_MAP_ALWAYS, FieldTable, Inline, Row, choice
from engine.translate.json_fields import omit_empty
from engine.translate.swarm import write_tls
from engine.translate.task_spec import PLATFORM, RESOURCES
from engine.translate.times import rfc3339

_ANNOTATIONS = FieldTable(
    Annotations,
    (
        Row(key="Name", field="name", codec=TEXT),
        Row(key="Labels", field="labels", codec=TEXT_MAP_ALWAYS, always=True),
    ),
)


def _required(name: str, names: Mapping[str, IntEnum]) -> str:
    """The refusal of an absent value: an update gives the whole spec, as in Docker."""
    return f'invalid {name}: ""; use one of {", ".join(names)}'


NODE_SPEC = FieldTable(
    NodeSpec,
    (
        Inline(field="annotations", table=_ANNOTATIONS),
        Row(
            key="Role",
            field="desired_role",
            codec=choice(enum_names.ROLES),
            required=_required("Role", enum_names.ROLES),
            always=True,
        ),
        Row(
            key="Availability",
            field="availability",
            codec=choice(enum_names.AVAILABILITIES),
            required=_required("Availability", enum_names.AVAILABILITIES),
            always=True,
        ),
    ),
)


def read_spec(body: Any) -> NodeSpec:
    return NODE_SPEC.from_json(body)


def write_spec(spec: NodeSpec) -> dict[str, Any]:
    return NODE_SPEC.write(spec)


_OLD_PLUGINS = ("Network/overlay", "Volume/local")
"""Those of a node that does not say which it has."""


def _plugin(text: str) -> dict[str, str]:
    kind, _, name = text.partition("/")
    return {"Type": kind, "Name": name}


def write(node: Node, join_addr: Callable[[str], str]) -> dict[str, Any]:
    """A node as clients see it. They print a manager's address for ``swarm join``, so it is shown with the join port."""
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
                "Plugins": [_plugin(text) for text in description.engine.plugins or _OLD_PLUGINS],
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
            "Addr": join_addr(manager.addr) if manager.addr else "",
        }
    return result
