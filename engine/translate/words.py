"""The words of Docker's JSON for our enumerations, one table each."""

from enum import IntEnum
from typing import TypeVar

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


def _table(kind: type[E], separator: str = "_") -> dict[str, E]:
    return {item.name.lower().replace("_", separator): item for item in kind}


TASK_STATES = _table(TaskState)
NODE_STATES = _table(NodeState)
AVAILABILITIES = _table(NodeAvailability)
ROLES = _table(NodeRole)
REACHABILITIES = _table(Reachability)
ENDPOINT_MODES = _table(EndpointMode)
RESTART_CONDITIONS = _table(RestartCondition, "-")
FAILURE_ACTIONS = _table(UpdateFailureAction)
UPDATE_ORDERS = _table(UpdateOrder, "-")
UPDATE_STATES = _table(UpdateState)
MOUNT_TYPES = _table(MountType)
PUBLISH_MODES = _table(PublishMode)
PROTOCOLS = _table(Protocol)

_WORDS: dict[type[IntEnum], dict[IntEnum, str]] = {
    type(next(iter(table.values()))): {item: name for name, item in table.items()}
    for table in (
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


def word(item: IntEnum) -> str:
    """Docker's word for it."""
    return _WORDS[type(item)][item]
