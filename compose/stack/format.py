"""The keys of version 3 of the Compose file format: value, first minor version, canonical form, in the order of the output. Pure.

Source: what the docker client refuses and prints, for every key and version.
"""

import re

from compose.schema import Field, Kind, ListOf, MapOf, OneOf, Scalar, Table
from compose.stack.ports import is_port_text
from covey.errors import InvalidArgumentError
from covey.quantities import parse_duration

LATEST = 13


def _is_duration(text: str) -> bool:
    try:
        parse_duration(text)
    except InvalidArgumentError:
        return False
    return True


_NAME = re.compile(r"^[a-zA-Z0-9._-]+$")
_LABEL = re.compile(r".+")

_TEXT = Scalar(("string",))
_NUMBER = Scalar(("number",))
_INTEGER = Scalar(("integer",))
_BOOLEAN = Scalar(("boolean",))
_NULL = Scalar(("null",))
_TEXT_OR_NUMBER = Scalar(("string", "number"))
_TEXTS = ListOf(_TEXT)
_UNIQUE_TEXTS = ListOf(_TEXT, unique=True)
_PAIRS = OneOf((MapOf(Scalar(("string", "number", "null")), _LABEL), _UNIQUE_TEXTS))
_OPTIONS = MapOf(_TEXT_OR_NUMBER)

TEXT = Field(_TEXT)
INTEGER = Field(_INTEGER)
POINTER = Field(_INTEGER, keep_empty=True)
BOOLEAN = Field(_BOOLEAN)
TEXTS = Field(_TEXTS)
UNIQUE_TEXTS = Field(_UNIQUE_TEXTS)
TEXT_OR_TEXTS = Field(OneOf((_TEXT, _UNIQUE_TEXTS)), form="list")
WORDS = Field(OneOf((_TEXT, _TEXTS)), form="words")
DURATION = Field(Scalar(("string",), ("duration", _is_duration)), form="duration", keep_empty=True)
LABELS = Field(_PAIRS, form="pairs")
VARIABLES = Field(_PAIRS, form="variables")
OPTIONS = Field(_OPTIONS, form="texts")


def since(version: int, known: Field) -> Field:
    """The field, in the format since 3.version."""
    return Field(known.kind, version, known.form, known.keep_empty, known.hidden)


def _pointer(kind: Kind) -> Field:
    """A section that is shown even if it is empty."""
    return Field(kind, keep_empty=True)


def _nullable(kind: Kind) -> Kind:
    return OneOf((kind, _NULL))


_PAUSE = Field(DURATION.kind, form="pause")
"""A duration whose zero means that there is none."""
_UPDATE = Table(
    {
        "parallelism": POINTER,
        "delay": _PAUSE,
        "failure_action": TEXT,
        "monitor": _PAUSE,
        "max_failure_ratio": Field(_NUMBER),
        "order": Field(Scalar(("string",), choices=("start-first", "stop-first")), 4),
    }
)
_GENERIC = Table({"discrete_resource_spec": Field(Table({"kind": TEXT, "value": Field(_NUMBER)}), keep_empty=True)})
_LIMITS = {"cpus": TEXT, "memory": Field(_TEXT, form="memory")}
_RESOURCES = Table(
    {
        "limits": _pointer(Table({**_LIMITS, "pids": since(9, INTEGER)})),
        "reservations": _pointer(Table({**_LIMITS, "generic_resources": Field(ListOf(_GENERIC), 5)})),
    }
)
_PLACEMENT = Table(
    {
        "constraints": TEXTS,
        "preferences": Field(ListOf(Table({"spread": TEXT})), 3),
        "max_replicas_per_node": since(8, INTEGER),
    }
)
DEPLOY = Table(
    {
        "mode": TEXT,
        "replicas": POINTER,
        "labels": LABELS,
        "update_config": _pointer(_UPDATE),
        "rollback_config": since(7, _pointer(_UPDATE)),
        "resources": Field(_RESOURCES),
        "restart_policy": _pointer(
            Table({"condition": TEXT, "delay": DURATION, "max_attempts": POINTER, "window": DURATION})
        ),
        "placement": Field(_PLACEMENT),
        "endpoint_mode": since(2, TEXT),
    }
)
BUILD = Table(
    {
        "context": TEXT,
        "dockerfile": TEXT,
        "args": VARIABLES,
        "labels": since(3, LABELS),
        "cache_from": since(2, UNIQUE_TEXTS),
        "extra_hosts": Field(_PAIRS, 9, form="hosts"),
        "network": since(4, TEXT),
        "target": since(4, TEXT),
        "shm_size": Field(Scalar(("integer", "string")), 5, hidden=True),
    },
    open_since=11,
)
HEALTHCHECK = Table(
    {
        "test": Field(OneOf((_TEXT, _TEXTS)), form="shell"),
        "timeout": DURATION,
        "interval": DURATION,
        "retries": Field(_NUMBER, form="integer", keep_empty=True),
        "start_period": since(4, DURATION),
        "start_interval": since(12, DURATION),
        "disable": BOOLEAN,
    }
)
_NEVER = 99
LONG_PORT = Table(
    {
        "mode": TEXT,
        "target": INTEGER,
        "published": INTEGER,
        "protocol": TEXT,
        "host_ip": Field(_TEXT, _NEVER, hidden=True),
    }
)
"""``host_ip`` comes from short forms alone: it has no meaning on a cluster and is named in the notice."""
LONG_VOLUME = Table(
    {
        "type": TEXT,
        "source": TEXT,
        "target": TEXT,
        "read_only": BOOLEAN,
        "consistency": TEXT,
        "bind": _pointer(Table({"propagation": TEXT}, open_since=0)),
        "volume": _pointer(Table({"nocopy": BOOLEAN, "subpath": TEXT}, open_since=0)),
        "tmpfs": since(6, _pointer(Table({"size": INTEGER}, open_since=0))),
    },
    required=("type",),
)
FILE_REFERENCE = Table(
    {"source": TEXT, "target": TEXT, "uid": TEXT, "gid": TEXT, "mode": Field(_NUMBER, keep_empty=True)}, open_since=0
)
ATTACHMENT = Table(
    {"aliases": UNIQUE_TEXTS, "driver_opts": since(13, OPTIONS), "ipv4_address": TEXT, "ipv6_address": TEXT}
)
_PORTS = ListOf(OneOf((Scalar(("number", "string"), ("ports", is_port_text)), LONG_PORT)), unique=True)
_ULIMIT = OneOf((_INTEGER, Table({"soft": INTEGER, "hard": INTEGER}, required=("soft", "hard"))))
_REFERENCES = Field(ListOf(OneOf((_TEXT, FILE_REFERENCE))), form="references")
_LOGGING = Table({"driver": TEXT, "options": Field(MapOf(Scalar(("string", "number", "null"))), form="texts")})
SERVICE = Table(
    {
        "build": Field(OneOf((_TEXT, BUILD)), form="build"),
        "cap_add": UNIQUE_TEXTS,
        "cap_drop": UNIQUE_TEXTS,
        "cgroupns_mode": since(9, TEXT),
        "cgroup_parent": TEXT,
        "command": WORDS,
        "configs": since(3, _REFERENCES),
        "container_name": TEXT,
        "credential_spec": since(3, Field(Table({"config": since(8, TEXT), "file": TEXT, "registry": TEXT}))),
        "depends_on": UNIQUE_TEXTS,
        "deploy": Field(_nullable(DEPLOY)),
        "devices": UNIQUE_TEXTS,
        "dns": TEXT_OR_TEXTS,
        "dns_search": TEXT_OR_TEXTS,
        "domainname": TEXT,
        "entrypoint": WORDS,
        "environment": VARIABLES,
        "env_file": TEXT_OR_TEXTS,
        "expose": Field(ListOf(_TEXT_OR_NUMBER, unique=True), form="texts"),
        "external_links": UNIQUE_TEXTS,
        "extra_hosts": Field(_PAIRS, form="hosts"),
        "hostname": TEXT,
        "healthcheck": _pointer(HEALTHCHECK),
        "image": TEXT,
        "init": Field(_BOOLEAN, 7, keep_empty=True),
        "ipc": TEXT,
        "isolation": since(5, TEXT),
        "labels": LABELS,
        "links": UNIQUE_TEXTS,
        "logging": _pointer(_LOGGING),
        "mac_address": TEXT,
        "network_mode": TEXT,
        "networks": Field(OneOf((_UNIQUE_TEXTS, MapOf(_nullable(ATTACHMENT), _NAME))), form="attachments"),
        "oom_score_adj": Field(_INTEGER, 13, hidden=True),
        "pid": Field(Scalar(("string", "null"))),
        "ports": Field(_PORTS, form="ports"),
        "privileged": BOOLEAN,
        "read_only": BOOLEAN,
        "restart": TEXT,
        "secrets": since(1, _REFERENCES),
        "security_opt": UNIQUE_TEXTS,
        "shm_size": TEXT,
        "stdin_open": BOOLEAN,
        "stop_grace_period": DURATION,
        "stop_signal": TEXT,
        "sysctls": LABELS,
        "tmpfs": TEXT_OR_TEXTS,
        "tty": BOOLEAN,
        "ulimits": Field(MapOf(_ULIMIT), form="ulimits"),
        "user": TEXT,
        "userns_mode": TEXT,
        "volumes": Field(ListOf(OneOf((_TEXT, LONG_VOLUME))), form="volumes"),
        "working_dir": TEXT,
    },
    extensions_since=7,
)
_EXTERNAL = Field(OneOf((_BOOLEAN, Table({"name": TEXT}))), form="external")
_IPAM = Table({"driver": TEXT, "config": Field(ListOf(Table({"subnet": TEXT})))})
NETWORK = Table(
    {
        "name": since(5, TEXT),
        "driver": TEXT,
        "driver_opts": OPTIONS,
        "ipam": Field(_IPAM),
        "external": _EXTERNAL,
        "internal": BOOLEAN,
        "attachable": since(2, BOOLEAN),
        "labels": LABELS,
    },
    extensions_since=4,
)
VOLUME = Table(
    {"name": since(4, TEXT), "driver": TEXT, "driver_opts": OPTIONS, "external": _EXTERNAL, "labels": LABELS},
    extensions_since=4,
)
SECRET = Table(
    {
        "name": since(5, TEXT),
        "file": TEXT,
        "external": _EXTERNAL,
        "labels": LABELS,
        "driver": since(8, TEXT),
        "driver_opts": since(8, OPTIONS),
        "template_driver": since(8, TEXT),
    },
    extensions_since=4,
)
CONFIG = Table(
    {key: known for key, known in SECRET.fields.items() if key not in ("driver", "driver_opts")}, extensions_since=4
)
STACK = Table(
    {
        "version": TEXT,
        "services": Field(MapOf(SERVICE, _NAME)),
        "networks": Field(MapOf(_nullable(NETWORK))),
        "volumes": Field(MapOf(_nullable(VOLUME))),
        "secrets": Field(MapOf(SECRET), 1),
        "configs": Field(MapOf(CONFIG), 3),
    },
    extensions_since=4,
)

_RESOURCE_HINT = "Set resource limits using deploy.resources"
FORBIDDEN = {
    "cpu_quota": _RESOURCE_HINT,
    "cpu_shares": _RESOURCE_HINT,
    "cpuset": _RESOURCE_HINT,
    "mem_limit": _RESOURCE_HINT,
    "memswap_limit": _RESOURCE_HINT,
    "volume_driver": "name the driver under the top-level volumes",
    "volumes_from": "share a volume of the top-level volumes between the services",
}
"""Keys of older formats that docker stack refuses, with what to write instead."""
