"""Validation of the labels `covey.autoscale…` against the spec, and the replicas within their bounds. Pure; called for services."""

from covey.errors import InvalidArgumentError
from covey.objects import Autoscale, ResourceRequirements, Resources, ServiceSpec, replace
from covey.service_options.autoscale import CPU_LABEL, MAX_LABEL, MEMORY_LABEL, read_autoscale
from covey.states import ServiceMode


def resolved_autoscale(spec: ServiceSpec) -> Autoscale | None:
    """What the labels of a spec say about autoscaling.

    Raises:
        InvalidArgumentError: a label is malformed or contradicts the spec; the message names the label.
    """
    autoscale = read_autoscale(spec.annotations.labels)
    if autoscale is None:
        return None
    if spec.mode is not ServiceMode.REPLICATED:
        raise InvalidArgumentError(
            f"label {MAX_LABEL}: a service of mode {spec.mode.name.lower().replace('_', '-')} has no number of replicas to change"
        )
    requirements = spec.task.resources or ResourceRequirements()
    parts = [part or Resources() for part in (requirements.reservations, requirements.limits)]
    if autoscale.cpu_percent and not any(part.nano_cpus for part in parts):
        raise InvalidArgumentError(
            f"label {CPU_LABEL}: a percentage of what? Give --reserve-cpu or --limit-cpu (Resources.Reservations.NanoCPUs)"
        )
    if autoscale.memory_percent and not any(part.memory_bytes for part in parts):
        raise InvalidArgumentError(
            f"label {MEMORY_LABEL}: a percentage of what? Give --reserve-memory or --limit-memory (Resources.Reservations.MemoryBytes)"
        )
    if spec.replicas > autoscale.max:
        raise InvalidArgumentError(
            f"{spec.replicas} replicas are more than the {autoscale.max} of the label {MAX_LABEL}; raise the label too"
        )
    return autoscale


def with_bounded_replicas(spec: ServiceSpec, before: ServiceSpec | None = None) -> ServiceSpec:
    """The spec with replicas within the bounds of its autoscaling. ``before`` is the spec that it replaces.

    Fewer than the minimum is what clients send that name no number: 1. Then the present number stays. 0 stops the service, and its
    autoscaling with it.
    """
    autoscale = spec.autoscale
    if autoscale is None or not 0 < spec.replicas < autoscale.min:
        return spec
    present = before.replicas if before is not None and before.mode is ServiceMode.REPLICATED else 0
    return replace(spec, replicas=min(max(present, autoscale.min), autoscale.max))
