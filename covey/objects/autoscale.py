"""Autoscaling of replicated services: bounds, targets, and what was decided last."""

from covey.objects.base import Struct


class Autoscale(Struct, frozen=True, kw_only=True):
    """What the labels `covey.autoscale…` say.

    Attributes:
        min: replicas that the service has at least.
        cpu_percent: target of the mean CPU use of the tasks, as a part of what each reserves or else may use; 0 for none.
        memory_percent: the same of memory.
        prometheus_url: a Prometheus server, whose answer to ``prometheus_query`` is to be ``prometheus_target`` for each replica.
        cooldown_up_ns: time after a change of the count in which it does not grow.
        cooldown_down_ns: time after a change of the count in which it does not shrink.
        stabilization_ns: the count shrinks only to the highest that was wanted within this time.
    """

    min: int = 1
    max: int = 1
    cpu_percent: float = 0.0
    memory_percent: float = 0.0
    prometheus_url: str = ""
    prometheus_query: str = ""
    prometheus_target: float = 0.0
    cooldown_up_ns: int = 0
    cooldown_down_ns: int = 0
    stabilization_ns: int = 0


class AutoscaleStatus(Struct, frozen=True, kw_only=True):
    """The last decision.

    Attributes:
        message: the last change of the count, with its reason.
        changed_ns: when the autoscaler last changed the count.
        error: why the load is unknown; empty while it is known.
    """

    message: str = ""
    changed_ns: int = 0
    error: str = ""
