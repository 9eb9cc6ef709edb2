"""The request of ``POST /build`` from its query parameters, and the records of the build cache. Pure."""

import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import msgspec

from agent.build.model import BuildRequest, BuildUlimit, CacheRecord
from agent.image.registry.auth_config import Credentials, decode_body
from covey import image_reference
from covey.errors import InvalidArgumentError, UnsupportedError
from engine.translate.image_platform import read_platform

AUTH_LIMIT_BYTES = 64 << 10
SECRET_LIMIT_BYTES = 48 << 10
_OFF = frozenset({"", "0", "no", "false", "none"})
_REFUSED_FLAGS = {"squash": "layers are not squashed; use a build of several stages"}
T = TypeVar("T")


class _Ulimit(msgspec.Struct, rename="pascal"):
    name: str
    soft: int
    hard: int


def read_request(
    query: Mapping[str, str], repeated: Mapping[str, Sequence[str]], auth_header: str = "", secrets_header: str = ""
) -> BuildRequest:
    """The request. ``repeated`` has all values of `t` and `extrahosts`.

    Raises InvalidArgumentError for a malformed value, UnsupportedError for what Covey does not do, both with the parameter's name.
    """
    _refuse(query)
    return BuildRequest(
        dockerfile=query.get("dockerfile", "") or "Dockerfile",
        tags=tuple(tag for tag in repeated.get("t", ()) if tag),
        build_args=_json(query, "buildargs", dict[str, str | None]) or {},
        labels=_json(query, "labels", dict[str, str]) or {},
        no_cache=_flag(query, "nocache"),
        pull=_flag(query, "pull"),
        platform=read_platform(query.get("platform", "")),
        extra_hosts=_extra_hosts(query, repeated.get("extrahosts", ())),
        ulimits=tuple(
            BuildUlimit(each.name, each.soft, each.hard) for each in _json(query, "ulimits", list[_Ulimit]) or ()
        ),
        cache_from=tuple(_json(query, "cachefrom", list[str]) or ()),
        security_options=tuple(_json(query, "securityopt", list[str]) or ()),
        credentials=read_credentials(auth_header),
        secrets=_secrets(secrets_header),
        target=query.get("target", ""),
        network=query.get("networkmode", ""),
        cpuset_cpus=query.get("cpusetcpus", ""),
        cpuset_mems=query.get("cpusetmems", ""),
        cgroup_parent=query.get("cgroupparent", ""),
        shm_size_bytes=_number(query, "shmsize"),
        memory_bytes=_number(query, "memory"),
        memory_swap_bytes=_number(query, "memswap"),
        cpu_shares=_number(query, "cpushares"),
        cpu_period_us=_number(query, "cpuperiod"),
        cpu_quota_us=_number(query, "cpuquota"),
    )


def _refuse(query: Mapping[str, str]) -> None:
    for name, reason in _REFUSED_FLAGS.items():
        if _flag(query, name):
            raise UnsupportedError(f"the build parameter {name} is not supported: {reason}")
    if query.get("version", "1") not in {"", "1"}:
        raise UnsupportedError(
            "builds with BuildKit (version=2) are not supported: use the classic builder (DOCKER_BUILDKIT=0)"
        )
    if query.get("outputs", "") not in {"", "[]", "null"}:
        raise UnsupportedError("the build parameter outputs is not supported: it needs BuildKit")
    isolation = query.get("isolation", "")
    if isolation not in {"", "default"}:
        raise InvalidArgumentError(f"unsupported isolation: {isolation!r}; on Linux only default is possible")


def read_credentials(header: str) -> dict[str, Credentials]:
    """The credentials of `X-Registry-Config`, by the registry's host. As in Docker, a malformed header is none."""
    if not header or len(header) > AUTH_LIMIT_BYTES:
        return {}
    try:
        data = base64.urlsafe_b64decode(header.replace("+", "-").replace("/", "_") + "=" * (-len(header) % 4))
        entries = msgspec.json.decode(data, type=dict[str, msgspec.Raw])
        return {_registry_host(name): decode_body(bytes(raw)) for name, raw in entries.items()}
    except (binascii.Error, ValueError, msgspec.MsgspecError, InvalidArgumentError):
        return {}


def cache_record(record: CacheRecord) -> dict[str, Any]:
    """A record of the build cache in ``docker system df``."""
    return {
        "ID": record.id,
        "Parents": [record.parent] if record.parent else [],
        "Type": "regular",
        "Description": record.description,
        "InUse": record.in_use,
        "Shared": False,
        "Size": record.size_bytes,
        "CreatedAt": record.created,
        "LastUsedAt": None,
        "UsageCount": 0,
    }


def _registry_host(name: str) -> str:
    """The host of an entry of the client's configuration, such as `https://index.docker.io/v1/`."""
    host = name.partition("://")[2] or name
    host = host.partition("/")[0]
    return image_reference.DEFAULT_DOMAIN if host in {"index.docker.io", "registry-1.docker.io"} else host


def _secrets(header: str) -> dict[str, bytes]:
    """The secrets that `covey build` sends: a JSON object of base64 texts, itself in base64."""
    if not header:
        return {}
    if len(header) > AUTH_LIMIT_BYTES:
        raise InvalidArgumentError(f"the secrets of a build may have {SECRET_LIMIT_BYTES} bytes at most")
    try:
        values = msgspec.json.decode(base64.b64decode(header, validate=True), type=dict[str, bytes])
    except (binascii.Error, ValueError, msgspec.MsgspecError) as error:
        raise InvalidArgumentError(f"invalid secrets of a build: {error}") from None
    for name in values:
        if not name or set(name) & set(",=/"):
            raise InvalidArgumentError(f"the id of a secret must not be empty or have one of , = /: {name!r}")
    return values


def _extra_hosts(query: Mapping[str, str], values: Sequence[str]) -> tuple[str, ...]:
    if len(values) == 1 and values[0].startswith("["):
        return tuple(_json(query, "extrahosts", list[str]) or ())
    return tuple(part for value in values for part in value.split(",") if part)


def _json(query: Mapping[str, str], name: str, kind: type[T]) -> T | None:
    text = query.get(name, "")
    if not text or text == "null":
        return None
    try:
        return msgspec.json.decode(text, type=kind)
    except (msgspec.MsgspecError, json.JSONDecodeError) as error:
        raise InvalidArgumentError(f"error reading {name}: {error}") from None


def _flag(query: Mapping[str, str], name: str) -> bool:
    return query.get(name, "").strip().lower() not in _OFF


def _number(query: Mapping[str, str], name: str) -> int:
    text = query.get(name, "")
    try:
        return int(text) if text else 0
    except ValueError:
        raise InvalidArgumentError(f"invalid {name} {text!r}: it must be an integer") from None
