"""Secret and config requests: create, update labels, remove. Pure functions on a transaction, called by the servicer.

Invariant: the control API never returns the data of a secret.
"""

from collections.abc import Iterable
from typing import TypeVar

from covey.errors import AlreadyExistsError, InvalidArgumentError, StaleVersionError
from covey.ids import IdSource
from covey.objects import (
    MAX_CONFIG_BYTES,
    MAX_SECRET_BYTES,
    Config,
    ConfigSpec,
    Secret,
    SecretSpec,
    Service,
    replace,
)
from covey.payload_template import check_payload
from covey.secret_versions import base_name, is_earlier
from manager.control.name_validation import require_labels, require_secret_name
from manager.control.version_check import OUT_OF_SEQUENCE
from manager.store import Tx

V = TypeVar("V", Secret, Config)


def create_secret(tx: Tx, spec: SecretSpec, new_id: IdSource) -> str:
    require_secret_name(spec.annotations)
    require_data("secret", spec)
    name = spec.annotations.name
    if tx.secrets.by_name(name) is not None:
        raise AlreadyExistsError(f"secret {name} already exists")
    secret = Secret(id=new_id(), spec=spec)
    tx.create(secret)
    return secret.id


def create_config(tx: Tx, spec: ConfigSpec, new_id: IdSource) -> str:
    require_secret_name(spec.annotations)
    require_data("config", spec)
    name = spec.annotations.name
    if tx.configs.by_name(name) is not None:
        raise AlreadyExistsError(f"config {name} already exists")
    config = Config(id=new_id(), spec=spec)
    tx.create(config)
    return config.id


def update_secret(tx: Tx, ref: str, version: int, spec: SecretSpec) -> str:
    secret = tx.secrets.find(ref)
    _require_labels_alone(version, secret, spec)
    tx.update(replace(secret, spec=replace(secret.spec, annotations=spec.annotations)))
    return secret.id


def update_config(tx: Tx, ref: str, version: int, spec: ConfigSpec) -> str:
    config = tx.configs.find(ref)
    _require_labels_alone(version, config, spec)
    tx.update(replace(config, spec=replace(config.spec, annotations=spec.annotations)))
    return config.id


def remove_secret(tx: Tx, ref: str) -> str:
    secret = tx.secrets.find(ref)
    versions = _removed_with(secret, tx.secrets)
    users = {service.id: service for item in versions for service in tx.services.by_secret(item.id)}
    _refuse_in_use("secret", secret.spec.annotations.name, tuple(users.values()))
    for item in versions:
        tx.remove(Secret, item.id)
    return secret.id


def remove_config(tx: Tx, ref: str) -> str:
    config = tx.configs.find(ref)
    versions = _removed_with(config, tx.configs)
    users = {service.id: service for item in versions for service in tx.services.by_config(item.id)}
    _refuse_in_use("config", config.spec.annotations.name, tuple(users.values()))
    for item in versions:
        tx.remove(Config, item.id)
    return config.id


def redact_secret(secret: Secret) -> Secret:
    """The secret without its data, as everyone but its containers sees it."""
    return replace(secret, spec=replace(secret.spec, data=b""))


def require_data(kind: str, spec: SecretSpec | ConfigSpec) -> None:
    """Refuses data that is empty, too large, or not the template that it should be."""
    bound = MAX_SECRET_BYTES if isinstance(spec, SecretSpec) else MAX_CONFIG_BYTES
    if not 0 < len(spec.data) <= bound:
        raise InvalidArgumentError(f"{kind} data must be larger than 0 and less than {bound + 1} bytes")
    check_payload(f"{kind} {spec.annotations.name}", spec.templating, spec.data)


def _require_labels_alone(version: int, stored: Secret | Config, spec: SecretSpec | ConfigSpec) -> None:
    if stored.meta.version != version:
        raise StaleVersionError(OUT_OF_SEQUENCE)
    renamed = spec.annotations.name != stored.spec.annotations.name
    templated = spec.templating is not None and spec.templating != stored.spec.templating
    if renamed or templated or (spec.data and spec.data != stored.spec.data):
        raise InvalidArgumentError("only updates to Labels are allowed")
    require_labels(spec.annotations)


def _removed_with(item: V, same_kind: Iterable[V]) -> list[V]:
    """The object, and its earlier versions if it is the current one."""
    removed = [item]
    for other in same_kind:
        name = other.spec.annotations.name
        if is_earlier(name) and base_name(name) == item.spec.annotations.name:
            removed.append(other)
    return removed


def _refuse_in_use(kind: str, name: str, services: tuple[Service, ...]) -> None:
    if services:
        names = ", ".join(sorted(service.spec.annotations.name for service in services))
        plural = "s" if len(services) > 1 else ""
        raise InvalidArgumentError(f"{kind} '{name}' is in use by the following service{plural}: {names}")
