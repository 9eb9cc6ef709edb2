"""Docker's names for the values of enumerations, one table for each enumeration."""

from enum import IntEnum
from typing import TypeVar

from covey.service_dependencies import CONDITIONS
from covey.states import (
    EndpointMode,
    MountType,
    NodeAvailability,
    NodeRole,
    NodeState,
    Protocol,
    PublishMode,
    Reachability,
    RestartCondition,
    TaskState,
    UpdateFailureAction,
    UpdateOrder,
    UpdateState,
)

E = TypeVar("E", bound=IntEnum)


def _names(kind: type[E], separator: str = "_") -> dict[str, E]:
    return {item.name.lower().replace("_", separator): item for item in kind}


TASK_STATES = _names(TaskState)
NODE_STATES = _names(NodeState)
AVAILABILITIES = _names(NodeAvailability)
ROLES = _names(NodeRole)
REACHABILITIES = _names(Reachability)
ENDPOINT_MODES = _names(EndpointMode)
RESTART_CONDITIONS = _names(RestartCondition, "-")
FAILURE_ACTIONS = _names(UpdateFailureAction)
UPDATE_ORDERS = _names(UpdateOrder, "-")
UPDATE_STATES = _names(UpdateState)
MOUNT_TYPES = _names(MountType)
PUBLISH_MODES = _names(PublishMode)
PROTOCOLS = _names(Protocol)

_NAME_OF: dict[type[IntEnum], dict[IntEnum, str]] = {
    type(next(iter(table.values()))): {item: name for name, item in table.items()}
    for table in (
        CONDITIONS,
        TASK_STATES,
        NODE_STATES,
        AVAILABILITIES,
        ROLES,
        REACHABILITIES,
        ENDPOINT_MODES,
        RESTART_CONDITIONS,
        FAILURE_ACTIONS,
        UPDATE_ORDERS,
        UPDATE_STATES,
        MOUNT_TYPES,
        PUBLISH_MODES,
        PROTOCOLS,
    )
}


def enum_name(item: IntEnum) -> str:
    """Docker's name for a value."""
    return _NAME_OF[type(item)][item]
