"""Docker's TaskSpec and its parts as field tables: resources, restart policy, placement, networks, log driver."""

from collections.abc import Mapping
from typing import Any

from covey.errors import InvalidArgumentError
from covey.objects import (
    NetworkAttachmentConfig,
    Placement,
    Platform,
    ResourceRequirements,
    Resources,
    RestartPolicy,
    TaskSpec,
)
from engine.translate import enum_names
from engine.translate.base import DRIVER
from engine.translate.container_spec import CONTAINER_SPEC
from engine.translate.field_table import (
    COUNT,
    INTEGER,
    TEXT,
    TEXT_MAP,
    TEXTS,
    Codec,
    Custom,
    FieldTable,
    Row,
    choice,
    list_of,
    nested,
)
from engine.translate.json_fields import JsonFields


def _read_generic(fields: JsonFields) -> Mapping[str, Any]:
    """Numbers of a kind, and named ones as ``KIND=NAME``."""

    def read(resource: JsonFields) -> tuple[str, int | str]:
        counted = resource.read("DiscreteResourceSpec", lambda item: (item.text("Kind"), item.count("Value")))
        named = resource.read("NamedResourceSpec", lambda item: (item.text("Kind"), item.text("Value")))
        found = counted or named
        if found is None or not found[0]:
            raise InvalidArgumentError(
                f"{resource.path} must hold a DiscreteResourceSpec or a NamedResourceSpec with a Kind"
            )
        return found

    items = fields.read_all("GenericResources", read)
    counted = [kind for kind, value in items if isinstance(value, int)]
    if twice := next((kind for kind in counted if counted.count(kind) > 1), ""):
        raise InvalidArgumentError(f"GenericResources has {twice} twice; give each kind one number")
    return {
        "generic": {kind: value for kind, value in items if isinstance(value, int)},
        "named_generic": tuple(f"{kind}={value}" for kind, value in items if isinstance(value, str)),
    }


def write_generic(resources: Resources) -> Mapping[str, Any]:
    """The key ``GenericResources``; nothing if there are none."""
    counted = [{"DiscreteResourceSpec": {"Kind": kind, "Value": n}} for kind, n in sorted(resources.generic.items())]
    named = [
        {"NamedResourceSpec": {"Kind": kind, "Value": value}}
        for kind, _, value in (text.partition("=") for text in resources.named_generic)
    ]
    return {"GenericResources": [*named, *counted]} if named or counted else {}


RESOURCES = FieldTable(
    Resources,
    (
        Row(key="NanoCPUs", field="nano_cpus", codec=COUNT),
        Row(key="MemoryBytes", field="memory_bytes", codec=COUNT),
        Row(key="Pids", field="pids", codec=COUNT),
        Custom(fields=("generic", "named_generic"), read=_read_generic, write=write_generic),
    ),
)

RESOURCE_REQUIREMENTS = FieldTable(
    ResourceRequirements,
    (
        Row(key="Limits", field="limits", codec=nested(RESOURCES)),
        Row(key="Reservations", field="reservations", codec=nested(RESOURCES)),
    ),
)

RESTART_POLICY = FieldTable(
    RestartPolicy,
    (
        Row(
            key="Condition",
            field="condition",
            codec=choice(enum_names.RESTART_CONDITIONS, 'invalid RestartCondition: "{}"'),
            always=True,
        ),
        Row(key="Delay", field="delay_ns", codec=INTEGER, always=True),
        Row(key="MaxAttempts", field="max_attempts", codec=COUNT, always=True),
        Row(key="Window", field="window_ns", codec=INTEGER, always=True),
    ),
)

PLATFORM = FieldTable(
    Platform,
    (
        Row(key="Architecture", field="architecture", codec=TEXT),
        Row(key="OS", field="os", codec=TEXT),
    ),
)


def _read_preferences(fields: JsonFields, key: str, _: Any) -> tuple[str, ...]:
    def read(preference: JsonFields) -> str:
        return preference.read("Spread", lambda spread: spread.text("SpreadDescriptor")) or ""

    return fields.read_all(key, read)


def _write_preferences(descriptors: tuple[str, ...]) -> list[dict[str, Any]]:
    return [{"Spread": {"SpreadDescriptor": text}} for text in descriptors]


PLACEMENT = FieldTable(
    Placement,
    (
        Row(key="Constraints", field="constraints", codec=TEXTS),
        Row(key="Preferences", field="preferences", codec=Codec(_read_preferences, _write_preferences)),
        Row(key="MaxReplicas", field="max_replicas", codec=COUNT),
        Row(key="Platforms", field="platforms", codec=list_of(PLATFORM)),
        Custom(fields=("affinities", "max_skews", "priority"), read=lambda _: {}, write=lambda _: {}),  # in labels
    ),
)

NETWORK_ATTACHMENT = FieldTable(
    NetworkAttachmentConfig,
    (
        Row(key="Target", field="target", codec=TEXT),
        Row(key="Aliases", field="aliases", codec=TEXTS),
        Row(key="Addresses", field="addresses", codec=TEXTS),
        Row(key="DriverOpts", field="driver_options", codec=TEXT_MAP),
    ),
)


def _read_runtime(fields: JsonFields) -> Mapping[str, Any]:
    """A service may only name the runtime that it gets: containers."""
    runtime = fields.text("Runtime")
    if runtime not in ("", "container"):
        raise InvalidArgumentError(f"unsupported runtime; the Runtime {runtime!r} is not supported: use container")
    return {}


TASK_SPEC = FieldTable(
    TaskSpec,
    (
        Row(key="ContainerSpec", field="container", codec=nested(CONTAINER_SPEC)),
        Row(key="Resources", field="resources", codec=nested(RESOURCE_REQUIREMENTS)),
        Row(key="RestartPolicy", field="restart", codec=nested(RESTART_POLICY)),
        Row(key="Placement", field="placement", codec=nested(PLACEMENT)),
        Row(key="Networks", field="networks", codec=list_of(NETWORK_ATTACHMENT)),
        Row(key="LogDriver", field="log_driver", codec=nested(DRIVER)),
        Row(key="ForceUpdate", field="force_update", codec=COUNT, always=True),
        Custom(fields=(), read=_read_runtime, write=lambda _: {"Runtime": "container"}),
    ),
)
