"""Docker's Secret and Config: field tables of their specs, and the objects as clients see them.

Invariant: the data of a secret is read and never written.
"""

import base64
import binascii
import string
from typing import Any

from covey.errors import InvalidArgumentError
from covey.objects import MAX_CONFIG_BYTES, MAX_SECRET_BYTES, Config, ConfigSpec, Secret, SecretSpec
from covey.objects.base import Meta
from covey.secret_versions import base_name, is_earlier, version_of
from engine.translate.base import ANNOTATIONS, DRIVER
from engine.translate.field_table import Codec, FieldTable, Inline, Row, nested
from engine.translate.json_fields import JsonFields
from engine.translate.times import rfc3339

_ALPHABET = frozenset(string.ascii_letters + string.digits + "+/-_\r\n")
_GROUP = 4


def _data_codec(kind: str, limit: int) -> Codec:
    """Base64 in one of its alphabets. ``limit`` keeps large values from the managers."""

    def read(fields: JsonFields, key: str, _: Any) -> bytes:
        text = fields.text(key)
        try:
            data = base64.b64decode(text, altchars=b"-_" if "-" in text or "_" in text else None, validate=True)
        except (binascii.Error, ValueError):
            place = _first_wrong_byte(text)
            raise InvalidArgumentError(
                f"illegal base64 data at input byte {place}; it is the Data of the {kind}"
            ) from None
        if len(data) > limit:
            raise InvalidArgumentError(f"{kind} data must be larger than 0 and less than {limit + 1} bytes")
        return data

    return Codec(read, lambda data: base64.b64encode(data).decode())


def _first_wrong_byte(text: str) -> int:
    """Where Go's decoder stops: at a byte of no base64, or at the start of a group that is not complete."""
    complete = len(text) - len(text) % _GROUP
    padding = next((place for place, byte in enumerate(text) if byte == "="), len(text))
    wrong = next((place for place, byte in enumerate(text[:padding]) if byte not in _ALPHABET), complete)
    return min(wrong, complete)


SECRET_DATA = Codec(_data_codec("secret", MAX_SECRET_BYTES).read, lambda _: None)
CONFIG_DATA = _data_codec("config", MAX_CONFIG_BYTES)

SECRET_SPEC = FieldTable(
    SecretSpec,
    (
        Inline(field="annotations", table=ANNOTATIONS),
        Row(key="Templating", field="templating", codec=nested(DRIVER)),
        Row(key="Data", field="data", codec=SECRET_DATA),
    ),
)

CONFIG_SPEC = FieldTable(
    ConfigSpec,
    (
        Inline(field="annotations", table=ANNOTATIONS),
        Row(key="Templating", field="templating", codec=nested(DRIVER)),
        Row(key="Data", field="data", codec=CONFIG_DATA, always=True),
    ),
)


def read_secret(body: Any) -> SecretSpec:
    return SECRET_SPEC.from_json(body)


def read_config(body: Any) -> ConfigSpec:
    return CONFIG_SPEC.from_json(body)


def write_secret(secret: Secret) -> dict[str, Any]:
    return {**_head(secret.id, secret.meta), "Spec": write_secret_spec(secret.spec), **_version(secret)}


def write_secret_spec(spec: SecretSpec) -> dict[str, Any]:
    """Without the data."""
    return SECRET_SPEC.write(spec)


def write_config(config: Config) -> dict[str, Any]:
    return {**_head(config.id, config.meta), "Spec": write_config_spec(config.spec), **_version(config)}


def write_config_spec(spec: ConfigSpec) -> dict[str, Any]:
    return CONFIG_SPEC.write(spec)


def read_rotation(body: Any, kind: str) -> bytes:
    """The new data of a secret or config, from the body of its rotation."""
    fields = JsonFields(body)
    data: bytes = (SECRET_DATA if kind == "secret" else CONFIG_DATA).read(fields, "Data", None)
    fields.refuse_unsupported()
    return data


def _version(item: Secret | Config) -> dict[str, Any]:
    """Which content this is, and of what name. Docker has no such field, so it is there only after a rotation."""
    name = item.spec.annotations.name
    if not item.earlier_versions and not is_earlier(name):
        return {}
    return {"Rotation": {"Name": base_name(name), "Version": version_of(item), "Current": not is_earlier(name)}}


def _head(object_id: str, meta: Meta) -> dict[str, Any]:
    return {
        "ID": object_id,
        "Version": {"Index": meta.version},
        "CreatedAt": rfc3339(meta.created_at_ns),
        "UpdatedAt": rfc3339(meta.updated_at_ns),
    }
