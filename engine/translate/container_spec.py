"""Docker's ContainerSpec and its parts as field tables: mounts, secrets and configs, health check, DNS, ulimits."""

from typing import Any

from covey.errors import InvalidArgumentError
from covey.objects import (
    ConfigReference,
    ContainerSpec,
    DNSConfig,
    FileTarget,
    HealthConfig,
    Mount,
    SecretReference,
    Ulimit,
)
from engine.translate import enum_names, privileges
from engine.translate.base import DRIVER
from engine.translate.field_table import (
    COUNT,
    FLAG,
    INTEGER,
    TEXT,
    TEXT_MAP,
    TEXTS,
    Codec,
    Constant,
    Custom,
    FieldTable,
    Row,
    choice,
    list_of,
    nested,
)
from engine.translate.json_fields import JsonFields

HEALTH_CONFIG = FieldTable(
    HealthConfig,
    (
        Row(key="Test", field="test", codec=TEXTS),
        Row(key="Interval", field="interval_ns", codec=INTEGER),
        Row(key="Timeout", field="timeout_ns", codec=INTEGER),
        Row(key="StartPeriod", field="start_period_ns", codec=INTEGER),
        Row(key="StartInterval", field="start_interval_ns", codec=INTEGER),
        Row(key="Retries", field="retries", codec=COUNT),
    ),
)


def _read_tmpfs_options(fields: JsonFields, key: str, _: Any) -> tuple[str, ...]:
    options = fields.raw(key)
    if not isinstance(options, list) or not all(
        isinstance(option, list) and 1 <= len(option) <= 2 and all(isinstance(part, str) for part in option)
        for option in options
    ):
        raise InvalidArgumentError(f"{fields.path_of(key)} must be a list of one or two strings each")
    return tuple("=".join(option) for option in options)


_TMPFS_OPTIONS = Codec(_read_tmpfs_options, lambda options: [option.split("=", 1) for option in options])

MOUNT = FieldTable(
    Mount,
    (
        Row(
            key="Type",
            field="type",
            codec=choice(enum_names.MOUNT_TYPES, 'invalid MountType: "{}"'),
            required="{path} is missing; use bind, volume, tmpfs or image",
            always=True,
        ),
        Row(key="Source", field="source", codec=TEXT),
        Row(key="Target", field="target", codec=TEXT),
        Row(key="ReadOnly", field="read_only", codec=FLAG),
        Constant(key="Consistency", accepted=("default", "consistent", "cached", "delegated")),
        Row(key="BindOptions.Propagation", field="propagation", codec=TEXT),
        Row(key="BindOptions.NonRecursive", field="bind_non_recursive", codec=FLAG),
        Row(key="BindOptions.CreateMountpoint", field="bind_create_mountpoint", codec=FLAG),
        Row(key="BindOptions.ReadOnlyNonRecursive", field="bind_read_only_non_recursive", codec=FLAG),
        Row(key="BindOptions.ReadOnlyForceRecursive", field="bind_read_only_force_recursive", codec=FLAG),
        Row(key="VolumeOptions.Subpath", field="volume_subpath", codec=TEXT),
        Row(key="ImageOptions.Subpath", field="image_subpath", codec=TEXT),
        Row(key="VolumeOptions.NoCopy", field="volume_no_copy", codec=FLAG),
        Row(key="VolumeOptions.Labels", field="volume_labels", codec=TEXT_MAP),
        Row(key="VolumeOptions.DriverConfig", field="volume_driver", codec=nested(DRIVER)),
        Row(key="TmpfsOptions.SizeBytes", field="tmpfs_size_bytes", codec=COUNT),
        Row(key="TmpfsOptions.Mode", field="tmpfs_mode", codec=COUNT),
        Row(key="TmpfsOptions.Options", field="tmpfs_options", codec=_TMPFS_OPTIONS),
    ),
)

_FILE_TARGET = FieldTable(
    FileTarget,
    (
        Row(key="Name", field="name", codec=TEXT, always=True),
        Row(key="UID", field="uid", codec=TEXT, always=True),
        Row(key="GID", field="gid", codec=TEXT, always=True),
        Row(key="Mode", field="mode", codec=COUNT, always=True),
    ),
)

_NO_TARGET = "rpc error: code = InvalidArgument desc = malformed {} reference, no target provided; give {{path}}.Name"

SECRET_REFERENCE = FieldTable(
    SecretReference,
    (
        Row(key="File", field="file", codec=nested(_FILE_TARGET), required=_NO_TARGET.format("secret")),
        Row(key="SecretID", field="secret_id", codec=TEXT, always=True),
        Row(key="SecretName", field="secret_name", codec=TEXT, always=True),
    ),
)


def _refuse_runtime(fields: JsonFields) -> dict[str, Any]:
    """A config that is no file holds a credential spec."""
    privileges.refuse_credential_spec(fields, "Runtime")
    return {}


CONFIG_REFERENCE = FieldTable(
    ConfigReference,
    (
        Custom(fields=(), read=_refuse_runtime, write=lambda _: {}),
        Row(key="File", field="file", codec=nested(_FILE_TARGET), required=_NO_TARGET.format("config")),
        Row(key="ConfigID", field="config_id", codec=TEXT, always=True),
        Row(key="ConfigName", field="config_name", codec=TEXT, always=True),
    ),
)

DNS_CONFIG = FieldTable(
    DNSConfig,
    (
        Row(key="Nameservers", field="nameservers", codec=TEXTS),
        Row(key="Search", field="search", codec=TEXTS),
        Row(key="Options", field="options", codec=TEXTS),
    ),
)

ULIMIT = FieldTable(
    Ulimit,
    (
        Row(key="Name", field="name", codec=TEXT, always=True),
        Row(key="Soft", field="soft", codec=INTEGER, always=True),
        Row(key="Hard", field="hard", codec=INTEGER, always=True),
    ),
)


CONTAINER_SPEC = FieldTable(
    ContainerSpec,
    (
        Row(key="Image", field="image", codec=TEXT),
        Row(key="Labels", field="labels", codec=TEXT_MAP),
        Row(key="Command", field="command", codec=TEXTS),
        Row(key="Args", field="args", codec=TEXTS),
        Row(key="Hostname", field="hostname", codec=TEXT),
        Row(key="Env", field="env", codec=TEXTS),
        Row(key="Dir", field="dir", codec=TEXT),
        Row(key="User", field="user", codec=TEXT),
        Row(key="Groups", field="groups", codec=TEXTS),
        Custom(fields=("no_new_privileges", "security_options"), read=privileges.read, write=privileges.write),
        # Credentials come in a header, and are never shown.
        Custom(fields=("registry_auth",), read=lambda _: {}, write=lambda _: {}),
        # Labels of the service say these: see covey.service_options.
        Custom(fields=("privileged", "devices", "post_start", "pre_stop"), read=lambda _: {}, write=lambda _: {}),
        Row(key="TTY", field="tty", codec=FLAG),
        Row(key="OpenStdin", field="open_stdin", codec=FLAG),
        Row(key="ReadOnly", field="read_only", codec=FLAG),
        Row(key="StopSignal", field="stop_signal", codec=TEXT),
        Row(key="Mounts", field="mounts", codec=list_of(MOUNT)),
        Row(key="Secrets", field="secrets", codec=list_of(SECRET_REFERENCE)),
        Row(key="Configs", field="configs", codec=list_of(CONFIG_REFERENCE)),
        Row(key="Hosts", field="hosts", codec=TEXTS),
        Row(key="DNSConfig", field="dns", codec=nested(DNS_CONFIG)),
        Row(key="Healthcheck", field="healthcheck", codec=nested(HEALTH_CONFIG)),
        Row(key="CapabilityAdd", field="capability_add", codec=TEXTS),
        Row(key="CapabilityDrop", field="capability_drop", codec=TEXTS),
        Row(key="Sysctls", field="sysctls", codec=TEXT_MAP),
        Row(key="Ulimits", field="ulimits", codec=list_of(ULIMIT)),
        Row(key="OomScoreAdj", field="oom_score_adj", codec=INTEGER),
        Row(key="Init", field="init", codec=FLAG, always=True),
        Row(key="StopGracePeriod", field="stop_grace_ns", codec=INTEGER, always=True),
        Constant(key="Isolation", accepted=("default",), written="default"),
    ),
)
