"""Secrets and configs: files for containers. A secret's data is encrypted on every disk."""

from covey.objects.base import Annotations, Driver, Meta, Struct

MAX_SECRET_BYTES = 500 * 1024 - 1
MAX_CONFIG_BYTES = 1000 * 1024 - 1


class SecretSpec(Struct, frozen=True, kw_only=True):
    annotations: Annotations = Annotations()
    data: bytes = b""
    templating: Driver | None = None


class Secret(Struct, frozen=True, kw_only=True):
    id: str
    meta: Meta = Meta()
    spec: SecretSpec = SecretSpec()
    earlier_versions: int = 0
    """How many versions with this name came before."""


class ConfigSpec(Struct, frozen=True, kw_only=True):
    annotations: Annotations = Annotations()
    data: bytes = b""
    templating: Driver | None = None


class Config(Struct, frozen=True, kw_only=True):
    id: str
    meta: Meta = Meta()
    spec: ConfigSpec = ConfigSpec()
    earlier_versions: int = 0
    """How many versions with this name came before."""
