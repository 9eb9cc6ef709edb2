"""Secret and config requests: create, update labels, remove. Pure functions on a transaction, called by the servicer.

Invariant: the control API never returns the data of a secret.
"""

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
from manager.control.name_validation import require_labels, require_secret_name
from manager.control.version_check import OUT_OF_SEQUENCE
from manager.store import Tx


def create_secret(tx: Tx, spec: SecretSpec, new_id: IdSource) -> str:
    require_secret_name(spec.annotations)
    _require_data("secret", spec, MAX_SECRET_BYTES)
    name = spec.annotations.name
    if tx.secrets.by_name(name) is not None:
        raise AlreadyExistsError(f"secret {name} already exists")
    secret = Secret(id=new_id(), spec=spec)
    tx.create(secret)
    return secret.id


def create_config(tx: Tx, spec: ConfigSpec, new_id: IdSource) -> str:
    require_secret_name(spec.annotations)
    _require_data("config", spec, MAX_CONFIG_BYTES)
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
    _refuse_in_use("secret", secret.spec.annotations.name, tx.services.by_secret(secret.id))
    tx.remove(Secret, secret.id)
    return secret.id


def remove_config(tx: Tx, ref: str) -> str:
    config = tx.configs.find(ref)
    _refuse_in_use("config", config.spec.annotations.name, tx.services.by_config(config.id))
    tx.remove(Config, config.id)
    return config.id


def redact_secret(secret: Secret) -> Secret:
    """The secret without its data, as everyone but its containers sees it."""
    return replace(secret, spec=replace(secret.spec, data=b""))


def _require_data(kind: str, spec: SecretSpec | ConfigSpec, bound: int) -> None:
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


def _refuse_in_use(kind: str, name: str, services: tuple[Service, ...]) -> None:
    if services:
        names = ", ".join(sorted(service.spec.annotations.name for service in services))
        plural = "s" if len(services) > 1 else ""
        raise InvalidArgumentError(f"{kind} '{name}' is in use by the following service{plural}: {names}")
