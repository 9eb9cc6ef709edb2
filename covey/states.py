"""The enumerations of the objects: states, modes, policies. Their numbers are those of ``coveypb.v1`` and never change.

Invariant: task states only increase. Managers write NEW, PENDING, ASSIGNED and the desired state; agents write the rest.
"""

from enum import IntEnum


class TaskState(IntEnum):
    NEW = 0
    PENDING = 64
    ASSIGNED = 192
    ACCEPTED = 256
    PREPARING = 320
    READY = 384
    STARTING = 448
    RUNNING = 512
    COMPLETE = 576
    SHUTDOWN = 640
    FAILED = 704
    REJECTED = 768
    REMOVE = 800
    ORPHANED = 832

    @property
    def terminal(self) -> bool:
        """Whether the task will never run again."""
        return self > TaskState.RUNNING


class NodeState(IntEnum):
    UNKNOWN = 0
    DOWN = 1
    READY = 2
    DISCONNECTED = 3


class NodeAvailability(IntEnum):
    ACTIVE = 0
    PAUSE = 1
    DRAIN = 2


class NodeRole(IntEnum):
    WORKER = 0
    MANAGER = 1


class Reachability(IntEnum):
    UNKNOWN = 0
    UNREACHABLE = 1
    REACHABLE = 2


class DependencyCondition(IntEnum):
    STARTED = 0
    HEALTHY = 1
    COMPLETED = 2


class RunConcurrency(IntEnum):
    """What happens at the time of a job's next run while the present one goes on."""

    FORBID = 0
    ALLOW = 1
    REPLACE = 2


class MissedRuns(IntEnum):
    """What happens to runs whose time passed while no manager could begin them."""

    SKIP = 0
    RUN_ONCE = 1


class ServiceMode(IntEnum):
    REPLICATED = 0
    GLOBAL = 1
    REPLICATED_JOB = 2
    GLOBAL_JOB = 3

    @property
    def is_job(self) -> bool:
        """Whether the tasks run until they complete."""
        return self >= ServiceMode.REPLICATED_JOB

    @property
    def is_global(self) -> bool:
        """Whether there is one task on each node."""
        return self in {ServiceMode.GLOBAL, ServiceMode.GLOBAL_JOB}


class EndpointMode(IntEnum):
    VIP = 0
    DNSRR = 1


class RestartCondition(IntEnum):
    ANY = 0
    NONE = 1
    ON_FAILURE = 2


class UpdateFailureAction(IntEnum):
    PAUSE = 0
    CONTINUE = 1
    ROLLBACK = 2


class UpdateOrder(IntEnum):
    STOP_FIRST = 0
    START_FIRST = 1


class UpdateState(IntEnum):
    UNKNOWN = 0
    UPDATING = 1
    PAUSED = 2
    COMPLETED = 3
    ROLLBACK_STARTED = 4
    ROLLBACK_PAUSED = 5
    ROLLBACK_COMPLETED = 6


class MountType(IntEnum):
    BIND = 0
    VOLUME = 1
    TMPFS = 2
    NPIPE = 3
    CLUSTER = 4
    IMAGE = 5


class PublishMode(IntEnum):
    INGRESS = 0
    HOST = 1


class Protocol(IntEnum):
    TCP = 0
    UDP = 1
    SCTP = 2
