"""The parameters of ``POST /build`` from the options of ``covey build``. Pure but for reading secrets and the environment."""

import base64
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from cli.parse.key_values import parse_fields
from covey.errors import InvalidArgumentError

SECRETS_LIMIT_BYTES = 48 << 10
_SECRET_FIELDS = {"id": "id", "src": "src", "source": "src", "env": "env", "type": "type"}


def build_arguments(texts: Iterable[str], environment: Mapping[str, str]) -> dict[str, str | None]:
    """``NAME=VALUE``, or ``NAME`` with the value of the environment, None without one."""
    found: dict[str, str | None] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not name:
            raise InvalidArgumentError(f"invalid build argument {text!r}: empty name")
        found[name] = value if equals else environment.get(name)
    return found


def secrets_header(texts: Iterable[str]) -> str:
    """The header with the secrets of ``--secret id=ID[,src=FILE|,env=NAME]``; empty without any."""
    values: dict[str, str] = {}
    total = 0
    for text in texts:
        fields = parse_fields(text, "secret", _SECRET_FIELDS)
        name = fields.get("id", "")
        if not name:
            raise InvalidArgumentError(f"invalid secret {text!r}: write id=ID,src=FILE or id=ID,env=NAME")
        data = _secret(name, fields)
        total += len(data)
        values[name] = base64.b64encode(data).decode()
    if total > SECRETS_LIMIT_BYTES:
        raise InvalidArgumentError(
            f"the secrets of a build may have {SECRETS_LIMIT_BYTES} bytes at most; these have {total}"
        )
    return base64.b64encode(json.dumps(values).encode()).decode() if values else ""


def _secret(name: str, fields: Mapping[str, str]) -> bytes:
    variable = fields.get("env", "")
    if not variable and "src" not in fields and name in os.environ:
        variable = name
    if variable:
        if variable not in os.environ:
            raise InvalidArgumentError(f"the secret {name} needs the environment variable {variable}, which is not set")
        return os.environb[variable.encode()]
    path = Path(fields.get("src", name))
    try:
        with path.open("rb") as opened:
            return opened.read(SECRETS_LIMIT_BYTES + 1)
    except OSError as error:
        raise InvalidArgumentError(f"the secret {name} cannot be read from {path}: {error.strerror}") from None


def compact(values: Any) -> str:
    """A value as the API takes it in a parameter; empty for an empty one."""
    return json.dumps(values, separators=(",", ":")) if values else ""
