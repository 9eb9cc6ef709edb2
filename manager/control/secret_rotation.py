"""Rotation of a secret or config: new data under the same name, and all services that use an earlier version updated to it. Pure.

Invariant: the content of an object never changes. The new version is a new object that takes the name; the one before is renamed to NAME@N
and stays for tasks that still run with it and for the rollback of services. ``manager.orchestrator.secret_versions`` removes it later.
"""

from collections.abc import Iterable

from covey.errors import InvalidArgumentError, PreconditionError, TooLargeError
from covey.ids import IdSource
from covey.objects import Config, Secret, Service, ServiceSpec, replace
from covey.objects.base import Meta
from covey.secret_versions import base_name, earlier_name, is_earlier
from manager.control.secrets import require_data
from manager.control.service_validation import resolve_service
from manager.control.services import update_service
from manager.store import Tx

MAX_EARLIER_VERSIONS = 32
MAX_SERVICES = 500


class _Rotation:
    """What a rotation changes: ``renamed`` is the version before, ``created`` the new one, ``ids`` those of all versions before."""

    def __init__(
        self, item: Secret | Config, same_kind: Iterable[Secret | Config], data: bytes, object_id: str
    ) -> None:
        kind, name = type(item).__name__.lower(), item.spec.annotations.name
        if is_earlier(name):
            raise InvalidArgumentError(
                f"{kind} {name} is an earlier version: update {kind} {base_name(name)}, which replaced it"
            )
        if data == item.spec.data:
            raise InvalidArgumentError(f"{kind} {name} has this data already; nothing was changed")
        require_data(kind, replace(item.spec, data=data))
        versions = [other for other in same_kind if base_name(other.spec.annotations.name) == name]
        if len(versions) > MAX_EARLIER_VERSIONS:
            raise PreconditionError(
                f"{kind} {name} has {MAX_EARLIER_VERSIONS} earlier versions that services or tasks still use; "
                "update or remove those services first"
            )
        self.ids = frozenset(other.id for other in versions)
        annotations = replace(item.spec.annotations, name=earlier_name(item))
        self.renamed = replace(item, spec=replace(item.spec, annotations=annotations))
        self.created = replace(
            item,
            id=object_id,
            meta=Meta(),
            spec=replace(item.spec, data=data),
            earlier_versions=1 + max(other.earlier_versions for other in versions),
        )


def rotate_secret(tx: Tx, ref: str, data: bytes, new_id: IdSource, now_ns: int) -> tuple[str, tuple[str, ...]]:
    """Stores the new version. Returns its id, and the ids of the services that were updated.

    Raises:
        InvalidArgumentError: the data is not allowed or the same as now, or ``ref`` is an earlier version.
        PreconditionError: too many earlier versions are in use; TooLargeError: too many services use the object.
    """
    rotation = _Rotation(tx.secrets.find(ref), tx.secrets, data, new_id())
    users = [service for secret_id in sorted(rotation.ids) for service in tx.services.by_secret(secret_id)]
    return _apply(tx, rotation, users, now_ns)


def rotate_config(tx: Tx, ref: str, data: bytes, new_id: IdSource, now_ns: int) -> tuple[str, tuple[str, ...]]:
    """As `rotate_secret`."""
    rotation = _Rotation(tx.configs.find(ref), tx.configs, data, new_id())
    users = [service for config_id in sorted(rotation.ids) for service in tx.services.by_config(config_id)]
    return _apply(tx, rotation, users, now_ns)


def _apply(tx: Tx, rotation: _Rotation, users: Iterable[Service], now_ns: int) -> tuple[str, tuple[str, ...]]:
    services = tuple({service.id: service for service in users}.values())
    created = rotation.created
    if len(services) > MAX_SERVICES:
        kind, name = type(created).__name__.lower(), created.spec.annotations.name
        raise TooLargeError(
            f"{len(services)} services use {kind} {name}; at most {MAX_SERVICES} can be updated at once"
        )
    tx.update(rotation.renamed)
    tx.create(created)
    for service in services:
        spec = _with_version(service.spec, rotation.ids, created)
        if spec.mode.is_job:  # the runs of a job that have completed are not repeated for it
            tx.update(
                replace(
                    service,
                    spec=resolve_service(tx, spec, service.id),
                    version_before_spec=service.meta.version,
                    previous_spec=service.spec,
                    previous_spec_version=service.spec_version,
                )
            )
        else:
            update_service(tx, service.id, service.meta.version, spec, now_ns)
    return created.id, tuple(service.id for service in services)


def _with_version(spec: ServiceSpec, ids: frozenset[str], version: Secret | Config) -> ServiceSpec:
    """The spec with the new version in place of all others."""
    container = spec.task.container
    if isinstance(version, Secret):
        secrets = tuple(
            replace(reference, secret_id=version.id) if reference.secret_id in ids else reference
            for reference in container.secrets
        )
        container = replace(container, secrets=secrets)
    else:
        configs = tuple(
            replace(reference, config_id=version.id) if reference.config_id in ids else reference
            for reference in container.configs
        )
        container = replace(container, configs=configs)
    return replace(spec, task=replace(spec.task, container=container))
