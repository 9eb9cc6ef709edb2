"""Validation of the labels `covey.privileged` and `covey.devices` against the cluster's policy. Pure."""

from covey.errors import PermissionDeniedError
from covey.objects import ContainerSpec, ServiceSpec, replace
from covey.privilege_policy import ALLOW_DEVICES_LABEL, ALLOW_PRIVILEGED_LABEL, is_allowed
from covey.service_options.privileges import DEVICES_LABEL, PRIVILEGED_LABEL, privileges
from manager.store import View


def with_privileges(view: View, spec: ServiceSpec, container: ContainerSpec) -> ContainerSpec:
    """The container with what the labels of its service ask for.

    Raises:
        InvalidArgumentError: a label is malformed.
        PermissionDeniedError: the cluster does not allow it to this service; the message has the command that does.
    """
    privileged, devices = privileges(spec.annotations.labels)
    if privileged:
        _require_allowed(view, spec, PRIVILEGED_LABEL, ALLOW_PRIVILEGED_LABEL, "--allow-privileged")
    if devices:
        _require_allowed(view, spec, DEVICES_LABEL, ALLOW_DEVICES_LABEL, "--allow-devices")
    return replace(container, privileged=privileged, devices=devices)


def _require_allowed(view: View, spec: ServiceSpec, label: str, policy_label: str, flag: str) -> None:
    cluster = next(iter(view.clusters), None)
    labels = cluster.spec.annotations.labels if cluster is not None else {}
    if not is_allowed(policy_label, labels, spec):
        name = spec.annotations.name
        raise PermissionDeniedError(
            f"label {label}: the cluster's policy does not allow it to service {name}; an administrator can with "
            f"'covey swarm update {flag} \"service={name}\"'"
        )
