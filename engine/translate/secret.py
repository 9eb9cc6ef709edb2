"""Docker's Secret and Config and ours. A secret's data goes in and never comes out."""

import base64
import binascii
from typing import Any

from covey.errors import InvalidArgumentError, UnsupportedError
from covey.objects import MAX_CONFIG_BYTES, MAX_SECRET_BYTES, Config, ConfigSpec, Secret, SecretSpec
from covey.objects.base import Annotations, Meta
from engine.translate.container_spec import DRIVER
from engine.translate.json_fields import JsonFields, omit_empty
from engine.translate.times import rfc3339


def read_secret(body: Any) -> SecretSpec:
    fields = JsonFields(body)
    spec = SecretSpec(
        annotations=Annotations(name=fields.text("Name"), labels=fields.text_map("Labels")),
        data=_read_data(fields, "secret", MAX_SECRET_BYTES),
        templating=fields.read("Templating", DRIVER.read),
    )
    fields.refuse_unknown()
    return spec


def read_config(body: Any) -> ConfigSpec:
    fields = JsonFields(body)
    spec = ConfigSpec(
        annotations=Annotations(name=fields.text("Name"), labels=fields.text_map("Labels")),
        data=_read_data(fields, "config", MAX_CONFIG_BYTES),
        templating=fields.read("Templating", DRIVER.read),
    )
    fields.refuse_unknown()
    return spec


def refuse_unsupported(spec: SecretSpec | ConfigSpec) -> None:
    """Templates are not rendered by agents yet, so a spec that wants one is refused."""
    if spec.templating is not None and spec.templating.name:
        raise UnsupportedError(f"Templating (driver {spec.templating.name!r}) is not supported by Covey yet; remove it")


def write_secret(secret: Secret) -> dict[str, Any]:
    return {**_head(secret.id, secret.meta), "Spec": write_secret_spec(secret.spec)}


def write_secret_spec(spec: SecretSpec) -> dict[str, Any]:
    """Without the data."""
    return _spec(spec)


def write_config(config: Config) -> dict[str, Any]:
    return {**_head(config.id, config.meta), "Spec": write_config_spec(config.spec)}


def write_config_spec(spec: ConfigSpec) -> dict[str, Any]:
    return {**_spec(spec), "Data": base64.b64encode(spec.data).decode()}


def _spec(spec: SecretSpec | ConfigSpec) -> dict[str, Any]:
    return {
        "Name": spec.annotations.name,
        "Labels": spec.annotations.labels,
        **omit_empty(Templating=None if spec.templating is None else DRIVER.write(spec.templating)),
    }


def _head(object_id: str, meta: Meta) -> dict[str, Any]:
    return {
        "ID": object_id,
        "Version": {"Index": meta.version},
        "CreatedAt": rfc3339(meta.created_at_ns),
        "UpdatedAt": rfc3339(meta.updated_at_ns),
    }


def _read_data(fields: JsonFields, kind: str, limit: int) -> bytes:
    text = fields.text("Data")
    try:
        data = base64.b64decode(text, altchars=b"-_" if "-" in text or "_" in text else None, validate=True)
    except (binascii.Error, ValueError):
        raise InvalidArgumentError(f"the {kind}'s Data is not base64") from None
    if len(data) > limit:
        raise InvalidArgumentError(f"{kind} data must be larger than 0 and less than {limit + 1} bytes")
    return data
