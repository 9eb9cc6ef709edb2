"""The keys of the Compose Specification: value and canonical form. Pure.

Booleans, numbers and sizes may be texts, because variables are texts; the canonical form converts them.
"""

import re

from compose.schema import Field, Kind, ListOf, MapOf, OneOf, Scalar, Table

_CONTAINER_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+")
_PULL_POLICY = re.compile(r"always|never|build|if_not_present|missing|refresh|daily|weekly|every_([0-9]+[wdhms])+")
_MAX_DURATION = 256
_DURATION = re.compile(r"(\d+(\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h|d|w)")


def is_duration(text: str) -> bool:
    """Whether a text is a duration, in which days and weeks are allowed."""
    return text == "0" or (len(text) <= _MAX_DURATION and bool(re.fullmatch(f"({_DURATION.pattern})+", text)))


def is_container_name(text: str) -> bool:
    return bool(_CONTAINER_NAME.fullmatch(text))


def is_pull_policy(text: str) -> bool:
    return bool(_PULL_POLICY.fullmatch(text))


_NAME = re.compile(r"^[a-zA-Z0-9._-]+$")
_ANY_TEXT = re.compile(r".+")
_TEXT = Scalar(("string",))
_NULL = Scalar(("null",))
_BOOLEAN = Scalar(("boolean", "string"))
_INTEGER = Scalar(("integer", "string"))
_NUMBER = Scalar(("number", "string"))
_TEXTS = ListOf(_TEXT)
_VALUES = ListOf(Scalar(("string", "number")))
_PAIRS = OneOf((MapOf(Scalar(("string", "number", "boolean", "null")), _ANY_TEXT), _TEXTS))

TEXT = Field(_TEXT, keep_empty=True)
BOOLEAN = Field(_BOOLEAN, form="boolean", keep_empty=True)
INTEGER = Field(_INTEGER, form="integer")
POINTER = Field(_INTEGER, form="integer", keep_empty=True)
NUMBER = Field(_NUMBER, form="number")
SIZE = Field(_NUMBER, form="size")
MEMORY = Field(_TEXT, form="size")
DURATION = Field(Scalar(("string",), ("duration", is_duration)), form="duration", keep_empty=True)
TEXTS = Field(_TEXTS)
DISTINCT_TEXTS = Field(ListOf(_TEXT, unique=True))
UNIQUE_TEXTS = Field(_TEXTS, form="unique")
VALUES = Field(_VALUES, form="unique")
TEXT_OR_TEXTS = Field(OneOf((_TEXT, _TEXTS)), form="list")
WORDS = Field(OneOf((_TEXT, _TEXTS, _NULL)), form="words")
LABELS = Field(_PAIRS, form="pairs")
VARIABLES = Field(_PAIRS, form="variables")
OPTIONS = Field(MapOf(Scalar(("string", "number", "null")), _ANY_TEXT), form="texts")
HOSTS = Field(
    OneOf((MapOf(OneOf((_TEXT, _TEXTS)), _ANY_TEXT), _TEXTS)),
    form="hosts",
)


def table(fields: dict[str, Field], required: tuple[str, ...] = ()) -> Table:
    """A section, which may have extensions."""
    return Table(fields, required=required, extensions_since=0)


def _choice(*choices: str) -> Field:
    return Field(Scalar(("string",), choices=choices))


def _section(kind: Kind) -> Field:
    return Field(kind, keep_empty=True)


def _nullable(kind: Kind) -> Kind:
    return OneOf((kind, _NULL))


_UPDATE = table(
    {
        "parallelism": POINTER,
        "delay": DURATION,
        "failure_action": TEXT,
        "monitor": DURATION,
        "max_failure_ratio": Field(NUMBER.kind, form="number", keep_empty=True),
        "order": _choice("start-first", "stop-first"),
    }
)
DEVICE_REQUEST = table(
    {
        "capabilities": UNIQUE_TEXTS,
        "driver": TEXT,
        "count": Field(_INTEGER, form="device_count"),
        "device_ids": UNIQUE_TEXTS,
        "options": LABELS,
    }
)
_GENERIC = table({"discrete_resource_spec": _section(table({"kind": TEXT, "value": INTEGER}))})
DEPLOY = table(
    {
        "mode": TEXT,
        "replicas": POINTER,
        "labels": LABELS,
        "update_config": _section(_UPDATE),
        "rollback_config": _section(_UPDATE),
        "resources": Field(
            table(
                {
                    "limits": _section(table({"cpus": NUMBER, "memory": MEMORY, "pids": INTEGER})),
                    "reservations": _section(
                        table(
                            {
                                "cpus": NUMBER,
                                "memory": MEMORY,
                                "devices": Field(ListOf(DEVICE_REQUEST)),
                                "generic_resources": Field(ListOf(_GENERIC)),
                            }
                        )
                    ),
                }
            )
        ),
        "restart_policy": _section(
            table({"condition": TEXT, "delay": DURATION, "max_attempts": POINTER, "window": DURATION})
        ),
        "placement": Field(
            table(
                {
                    "constraints": TEXTS,
                    "preferences": Field(ListOf(table({"spread": TEXT}))),
                    "max_replicas_per_node": INTEGER,
                }
            )
        ),
        "endpoint_mode": TEXT,
    }
)
_ULIMIT = OneOf((_INTEGER, table({"soft": POINTER, "hard": POINTER}, required=("soft", "hard"))))
ULIMITS = Field(MapOf(_ULIMIT, re.compile(r".+")), form="ulimits")
FILE_REFERENCE = table(
    {"source": TEXT, "target": TEXT, "uid": TEXT, "gid": TEXT, "mode": Field(_NUMBER, form="mode", keep_empty=True)}
)
REFERENCES = Field(ListOf(OneOf((_TEXT, FILE_REFERENCE))), form="references")
BUILD = table(
    {
        "context": TEXT,
        "dockerfile": TEXT,
        "dockerfile_inline": TEXT,
        "entitlements": TEXTS,
        "args": VARIABLES,
        "provenance": Field(_BOOLEAN, form="text"),
        "sbom": Field(_BOOLEAN, form="text"),
        "ssh": Field(_PAIRS, form="ssh"),
        "labels": LABELS,
        "cache_from": TEXTS,
        "cache_to": TEXTS,
        "no_cache": BOOLEAN,
        "additional_contexts": Field(_PAIRS, form="contexts"),
        "pull": BOOLEAN,
        "extra_hosts": HOSTS,
        "isolation": TEXT,
        "network": TEXT,
        "target": TEXT,
        "secrets": REFERENCES,
        "shm_size": SIZE,
        "tags": TEXTS,
        "ulimits": ULIMITS,
        "platforms": TEXTS,
        "privileged": BOOLEAN,
    }
)
HEALTHCHECK = table(
    {
        "test": Field(OneOf((_TEXT, _TEXTS)), form="shell"),
        "timeout": DURATION,
        "interval": DURATION,
        "retries": Field(_NUMBER, form="integer", keep_empty=True),
        "start_period": DURATION,
        "start_interval": DURATION,
        "disable": BOOLEAN,
    }
)
HOOK = table(
    {
        "command": WORDS,
        "user": TEXT,
        "privileged": BOOLEAN,
        "working_dir": TEXT,
        "environment": VARIABLES,
    }
)
WATCH = table(
    {
        "path": TEXT,
        "action": _choice("rebuild", "sync", "restart", "sync+restart", "sync+exec"),
        "target": TEXT,
        "exec": Field(HOOK),
        "include": TEXT_OR_TEXTS,
        "ignore": TEXT_OR_TEXTS,
        "initial_sync": BOOLEAN,
    },
    required=("path", "action"),
)
_BLKIO_RATE = table({"path": TEXT, "rate": SIZE})
_BLKIO = table(
    {
        "weight": INTEGER,
        "weight_device": Field(ListOf(table({"path": TEXT, "weight": INTEGER}))),
        "device_read_bps": Field(ListOf(_BLKIO_RATE)),
        "device_read_iops": Field(ListOf(_BLKIO_RATE)),
        "device_write_bps": Field(ListOf(_BLKIO_RATE)),
        "device_write_iops": Field(ListOf(_BLKIO_RATE)),
    }
)
LONG_PORT = table(
    {
        "name": TEXT,
        "mode": TEXT,
        "host_ip": TEXT,
        "target": INTEGER,
        "published": Field(_INTEGER, form="text"),
        "protocol": TEXT,
        "app_protocol": TEXT,
    }
)
LONG_VOLUME = table(
    {
        "type": _choice("bind", "volume", "tmpfs", "cluster", "npipe", "image"),
        "source": TEXT,
        "target": TEXT,
        "read_only": BOOLEAN,
        "consistency": TEXT,
        "bind": _section(
            table(
                {
                    "selinux": _choice("z", "Z"),
                    "propagation": TEXT,
                    "create_host_path": BOOLEAN,
                    "recursive": _choice("enabled", "disabled", "writable", "readonly"),
                }
            )
        ),
        "volume": _section(table({"labels": LABELS, "nocopy": BOOLEAN, "subpath": TEXT})),
        "tmpfs": _section(table({"size": SIZE, "mode": Field(_NUMBER, form="integer")})),
        "image": _section(table({"subpath": TEXT})),
    },
    required=("type",),
)
ATTACHMENT = table(
    {
        "aliases": UNIQUE_TEXTS,
        "driver_opts": OPTIONS,
        "gw_priority": INTEGER,
        "interface_name": TEXT,
        "ipv4_address": TEXT,
        "ipv6_address": TEXT,
        "link_local_ips": UNIQUE_TEXTS,
        "mac_address": TEXT,
        "priority": INTEGER,
    }
)
DEPENDENCY = table(
    {
        "condition": _choice("service_started", "service_healthy", "service_completed_successfully"),
        "restart": BOOLEAN,
        "required": BOOLEAN,
    },
    required=("condition",),
)
LONG_DEVICE = table({"source": TEXT, "target": TEXT, "permissions": TEXT}, required=("source",))
ENV_FILE = table({"path": TEXT, "required": BOOLEAN, "format": TEXT}, required=("path",))
_EXTENDS = OneOf((_TEXT, table({"service": TEXT, "file": TEXT}, required=("service",))))
SERVICE = table(
    {
        "extends": Field(_EXTENDS),
        "profiles": UNIQUE_TEXTS,
        "deploy": Field(_nullable(DEPLOY), keep_empty=True),
        "develop": Field(_nullable(table({"watch": Field(ListOf(WATCH), form="watch")}))),
        "restart": TEXT,
        "pull_refresh_after": TEXT,
        "scale": POINTER,
        "attach": BOOLEAN,
        "container_name": Field(Scalar(("string",), ("container name", is_container_name))),
        "provider": Field(table({"type": TEXT, "options": Field(Table({}, open_since=0))}, required=("type",))),
        "external_links": DISTINCT_TEXTS,
        "links": UNIQUE_TEXTS,
        "post_start": Field(ListOf(HOOK)),
        "pre_stop": Field(ListOf(HOOK)),
        "annotations": LABELS,
        "blkio_config": Field(_BLKIO),
        "cap_add": UNIQUE_TEXTS,
        "cap_drop": UNIQUE_TEXTS,
        "cgroup_parent": TEXT,
        "cgroup": _choice("host", "private"),
        "cpu_count": INTEGER,
        "cpu_percent": NUMBER,
        "cpu_period": INTEGER,
        "cpu_quota": INTEGER,
        "cpu_rt_period": INTEGER,
        "cpu_rt_runtime": INTEGER,
        "cpus": NUMBER,
        "cpuset": TEXT,
        "cpu_shares": INTEGER,
        "command": WORDS,
        "configs": REFERENCES,
        "credential_spec": Field(table({"config": TEXT, "file": TEXT, "registry": TEXT})),
        "device_cgroup_rules": UNIQUE_TEXTS,
        "devices": Field(ListOf(OneOf((_TEXT, LONG_DEVICE))), form="devices"),
        "dns": TEXT_OR_TEXTS,
        "dns_opt": UNIQUE_TEXTS,
        "dns_search": TEXT_OR_TEXTS,
        "domainname": TEXT,
        "entrypoint": WORDS,
        "environment": VARIABLES,
        "env_file": Field(OneOf((_TEXT, ListOf(OneOf((_TEXT, ENV_FILE))))), form="env_files"),
        "extra_hosts": HOSTS,
        "group_add": VALUES,
        "gpus": Field(OneOf((Scalar(("string",), choices=("all",)), ListOf(DEVICE_REQUEST))), form="gpus"),
        "hostname": TEXT,
        "image": TEXT,
        "init": BOOLEAN,
        "ipc": TEXT,
        "isolation": TEXT,
        "labels": LABELS,
        "label_file": Field(OneOf((_TEXT, _TEXTS)), form="paths"),
        "logging": Field(table({"driver": TEXT, "options": OPTIONS})),
        "mem_limit": SIZE,
        "mem_reservation": SIZE,
        "memswap_limit": SIZE,
        "mem_swappiness": Field(_INTEGER, form="text"),
        "mac_address": TEXT,
        "models": Field(OneOf((_TEXTS, MapOf(table({"endpoint_var": TEXT, "model_var": TEXT}), _NAME)))),
        "network_mode": TEXT,
        "networks": Field(OneOf((ListOf(_TEXT, unique=True), MapOf(_nullable(ATTACHMENT), _NAME))), form="attachments"),
        "oom_kill_disable": BOOLEAN,
        "oom_score_adj": INTEGER,
        "pid": Field(Scalar(("string", "null"))),
        "pids_limit": INTEGER,
        "platform": TEXT,
        "privileged": BOOLEAN,
        "pull_policy": Field(Scalar(("string",), ("pull policy", is_pull_policy))),
        "read_only": BOOLEAN,
        "runtime": TEXT,
        "secrets": REFERENCES,
        "security_opt": DISTINCT_TEXTS,
        "shm_size": SIZE,
        "stop_grace_period": DURATION,
        "stop_signal": TEXT,
        "storage_opt": Field(Table({}, open_since=0)),
        "sysctls": LABELS,
        "tmpfs": TEXT_OR_TEXTS,
        "ulimits": ULIMITS,
        "use_api_socket": BOOLEAN,
        "user": TEXT,
        "userns_mode": TEXT,
        "uts": TEXT,
        "volumes": Field(ListOf(OneOf((_TEXT, LONG_VOLUME))), form="volumes"),
        "volumes_from": UNIQUE_TEXTS,
        "working_dir": TEXT,
        "build": Field(OneOf((_TEXT, BUILD)), form="build", keep_empty=True),
        "depends_on": Field(OneOf((_TEXTS, MapOf(DEPENDENCY, _NAME))), form="dependencies"),
        "expose": VALUES,
        "healthcheck": Field(HEALTHCHECK, keep_empty=True),
        "ports": Field(ListOf(OneOf((Scalar(("number", "string")), LONG_PORT))), form="ports"),
        "stdin_open": BOOLEAN,
        "tty": BOOLEAN,
    }
)
_EXTERNAL = Field(OneOf((_BOOLEAN, table({"name": TEXT}))), form="external")
_IPAM_CONFIG = table({"subnet": TEXT, "gateway": TEXT, "ip_range": TEXT, "aux_addresses": OPTIONS})
NETWORK = table(
    {
        "name": TEXT,
        "driver": TEXT,
        "driver_opts": OPTIONS,
        "ipam": Field(table({"driver": TEXT, "config": Field(ListOf(_IPAM_CONFIG)), "options": OPTIONS})),
        "external": _EXTERNAL,
        "internal": BOOLEAN,
        "attachable": BOOLEAN,
        "labels": LABELS,
        "enable_ipv4": BOOLEAN,
        "enable_ipv6": BOOLEAN,
    }
)
VOLUME = table({"name": TEXT, "driver": TEXT, "driver_opts": OPTIONS, "external": _EXTERNAL, "labels": LABELS})
CONFIG = table(
    {
        "name": TEXT,
        "file": TEXT,
        "environment": TEXT,
        "content": TEXT,
        "external": _EXTERNAL,
        "labels": LABELS,
        "template_driver": TEXT,
    }
)
SECRET = table(
    {
        **{key: known for key, known in CONFIG.fields.items() if key != "content"},
        "driver": TEXT,
        "driver_opts": OPTIONS,
    }
)
_INCLUDE = OneOf((_TEXT, table({"path": TEXT_OR_TEXTS, "env_file": TEXT_OR_TEXTS, "project_directory": TEXT})))
MODEL = table(
    {"name": TEXT, "model": TEXT, "context_size": INTEGER, "runtime_flags": TEXTS},
    required=("model",),
)
PROJECT = table(
    {
        "version": TEXT,
        "name": TEXT,
        "include": Field(ListOf(_INCLUDE)),
        "services": Field(MapOf(SERVICE, _NAME)),
        "models": Field(MapOf(MODEL, _NAME)),
        "networks": Field(MapOf(_nullable(NETWORK), _NAME)),
        "volumes": Field(MapOf(_nullable(VOLUME), _NAME)),
        "secrets": Field(MapOf(SECRET, _NAME)),
        "configs": Field(MapOf(CONFIG, _NAME)),
    }
)
