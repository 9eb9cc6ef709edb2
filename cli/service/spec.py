"""Flags to a ServiceSpec, anew or as a change of one that is there. Pure: names of secrets, configs and networks come in with their ids.

Law: a flag that was not given changes nothing; removing what is not there is an error, so that a mistyped name is told.
"""

import copy
import shlex
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from cli.service import flag_values
from cli.service.capabilities import effective, normal
from cli.service.flags import parse_key_values
from covey.errors import InvalidArgumentError

Spec = dict[str, Any]
Flags = Mapping[str, Any]
MODES = {"replicated": "Replicated", "global": "Global", "replicated-job": "ReplicatedJob", "global-job": "GlobalJob"}

# Flags with one value each: where it goes in the spec.
_SCALAR_PATHS: dict[str, tuple[str, ...]] = {
    "hostname": ("TaskTemplate", "ContainerSpec", "Hostname"),
    "user": ("TaskTemplate", "ContainerSpec", "User"),
    "workdir": ("TaskTemplate", "ContainerSpec", "Dir"),
    "tty": ("TaskTemplate", "ContainerSpec", "TTY"),
    "read_only": ("TaskTemplate", "ContainerSpec", "ReadOnly"),
    "init": ("TaskTemplate", "ContainerSpec", "Init"),
    "stop_signal": ("TaskTemplate", "ContainerSpec", "StopSignal"),
    "stop_grace_period": ("TaskTemplate", "ContainerSpec", "StopGracePeriod"),
    "oom_score_adj": ("TaskTemplate", "ContainerSpec", "OomScoreAdj"),
    "endpoint_mode": ("EndpointSpec", "Mode"),
    "limit_cpu": ("TaskTemplate", "Resources", "Limits", "NanoCPUs"),
    "limit_memory": ("TaskTemplate", "Resources", "Limits", "MemoryBytes"),
    "limit_pids": ("TaskTemplate", "Resources", "Limits", "Pids"),
    "reserve_cpu": ("TaskTemplate", "Resources", "Reservations", "NanoCPUs"),
    "reserve_memory": ("TaskTemplate", "Resources", "Reservations", "MemoryBytes"),
    "restart_condition": ("TaskTemplate", "RestartPolicy", "Condition"),
    "restart_delay": ("TaskTemplate", "RestartPolicy", "Delay"),
    "restart_max_attempts": ("TaskTemplate", "RestartPolicy", "MaxAttempts"),
    "restart_window": ("TaskTemplate", "RestartPolicy", "Window"),
    "replicas_max_per_node": ("TaskTemplate", "Placement", "MaxReplicas"),
    "log_driver": ("TaskTemplate", "LogDriver", "Name"),
    **{
        f"{word}_{flag}": (f"{word.capitalize()}Config", name)
        for word in ("update", "rollback")
        for flag, name in (
            ("parallelism", "Parallelism"),
            ("delay", "Delay"),
            ("failure_action", "FailureAction"),
            ("monitor", "Monitor"),
            ("max_failure_ratio", "MaxFailureRatio"),
            ("order", "Order"),
        )
    },
    "health_interval": ("TaskTemplate", "ContainerSpec", "Healthcheck", "Interval"),
    "health_timeout": ("TaskTemplate", "ContainerSpec", "Healthcheck", "Timeout"),
    "health_retries": ("TaskTemplate", "ContainerSpec", "Healthcheck", "Retries"),
    "health_start_period": ("TaskTemplate", "ContainerSpec", "Healthcheck", "StartPeriod"),
    "health_start_interval": ("TaskTemplate", "ContainerSpec", "Healthcheck", "StartInterval"),
}


class ObjectIds(msgspec.Struct, frozen=True, kw_only=True):
    """Ids by name."""

    secrets: dict[str, str] = {}
    configs: dict[str, str] = {}
    networks: dict[str, str] = {}


class _ListFlag(msgspec.Struct, frozen=True, kw_only=True):
    """A flag that adds to a list of the spec: what each becomes, and by what an entry is known when it is removed."""

    path: tuple[str, ...]
    parse: Callable[[str, ObjectIds], Any]
    identity: Callable[[Any], str]


def _text(text: str, _: ObjectIds) -> str:
    return text


_CONTAINER = ("TaskTemplate", "ContainerSpec")
_LISTS: dict[str, _ListFlag] = {
    "env": _ListFlag(path=(*_CONTAINER, "Env"), parse=_text, identity=lambda item: str(item).partition("=")[0]),
    "constraint": _ListFlag(path=("TaskTemplate", "Placement", "Constraints"), parse=_text, identity=str),
    "dns": _ListFlag(path=(*_CONTAINER, "DNSConfig", "Nameservers"), parse=_text, identity=str),
    "dns_option": _ListFlag(path=(*_CONTAINER, "DNSConfig", "Options"), parse=_text, identity=str),
    "dns_search": _ListFlag(path=(*_CONTAINER, "DNSConfig", "Search"), parse=_text, identity=str),
    "group": _ListFlag(path=(*_CONTAINER, "Groups"), parse=_text, identity=str),
    "host": _ListFlag(path=(*_CONTAINER, "Hosts"), parse=lambda text, _: flag_values.parse_host(text), identity=str),
    "mount": _ListFlag(
        path=(*_CONTAINER, "Mounts"),
        parse=lambda text, _: flag_values.parse_mount(text),
        identity=lambda item: str(item["Target"]),
    ),
    "ulimit": _ListFlag(
        path=(*_CONTAINER, "Ulimits"),
        parse=lambda text, _: flag_values.parse_ulimit(text),
        identity=lambda item: str(item["Name"]),
    ),
    "secret": _ListFlag(
        path=(*_CONTAINER, "Secrets"),
        parse=lambda text, names: flag_values.parse_file_reference(text, "Secret", names.secrets),
        identity=lambda item: str(item["SecretName"]),
    ),
    "config": _ListFlag(
        path=(*_CONTAINER, "Configs"),
        parse=lambda text, names: flag_values.parse_file_reference(text, "Config", names.configs),
        identity=lambda item: str(item["ConfigName"]),
    ),
    "network": _ListFlag(
        path=("TaskTemplate", "Networks"),
        parse=lambda text, names: flag_values.parse_network(text, names.networks),
        identity=lambda item: str(item["Target"]),
    ),
    "placement_pref": _ListFlag(
        path=("TaskTemplate", "Placement", "Preferences"),
        parse=lambda text, _: flag_values.parse_placement_preference(text),
        identity=lambda item: f"spread={item['Spread']['SpreadDescriptor']}",
    ),
    "publish": _ListFlag(
        path=("EndpointSpec", "Ports"),
        parse=lambda text, _: flag_values.parse_port(text),
        identity=lambda item: f"{item['TargetPort']}/{item.get('Protocol', 'tcp')}",
    ),
    "generic_resource": _ListFlag(
        path=("TaskTemplate", "Resources", "Reservations", "GenericResources"),
        parse=lambda text, _: flag_values.parse_generic_resource(text),
        identity=lambda item: str(item["DiscreteResourceSpec"]["Kind"]),
    ),
}
_MAPS: dict[str, tuple[str, ...]] = {
    "label": ("Labels",),
    "container_label": (*_CONTAINER, "Labels"),
    "sysctl": (*_CONTAINER, "Sysctls"),
}


def new_spec(image: str, args: Sequence[str], flags: Flags, names: ObjectIds) -> Spec:
    """The spec of ``service create``.

    Raises:
        InvalidArgumentError: flags that do not go together, or a value that is wrong.
    """
    spec: Spec = {
        "Name": flags.get("name") or "",
        "Labels": {},
        "TaskTemplate": {"ContainerSpec": {"Image": image}},
        "Mode": _mode(flags),
        "EndpointSpec": {},
    }
    if args:
        spec["TaskTemplate"]["ContainerSpec"]["Args"] = list(args)
    for flag, kind in _LISTS.items():
        _add(spec, kind, [kind.parse(text, names) for text in flags.get(flag) or ()])
    for flag, place in _MAPS.items():
        if flags.get(flag):
            _put(spec, place, parse_key_values(flags[flag]))
    add, drop = effective(flags.get("cap_add") or (), flags.get("cap_drop") or ())
    _capabilities(spec, add, drop)
    _scalars(spec, flags)
    return spec


def updated_spec(spec: Mapping[str, Any], flags: Flags, names: ObjectIds) -> Spec:
    """The spec of ``service update``."""
    result: Spec = copy.deepcopy(dict(spec))
    container = result["TaskTemplate"]["ContainerSpec"]
    if flags.get("image"):
        container["Image"] = flags["image"]
    if flags.get("args") is not None:
        container["Args"] = _shell_words(flags["args"], "args")
    if flags.get("replicas") is not None:
        if "Replicated" not in result["Mode"]:
            raise InvalidArgumentError("replicas can only be used with replicated mode")
        result["Mode"] = {"Replicated": {"Replicas": flags["replicas"]}}
    for flag, kind in _LISTS.items():
        _remove(result, kind, flags.get(f"{flag}_rm") or (), names, flag)
        _add(result, kind, [kind.parse(text, names) for text in flags.get(f"{flag}_add") or ()])
    for flag, place in _MAPS.items():
        mapping = dict(_get(result, place) or {})
        for key in flags.get(f"{flag}_rm") or ():
            mapping.pop(key, None)
        mapping.update(parse_key_values(flags.get(f"{flag}_add") or ()))
        if mapping or _get(result, place):
            _put(result, place, mapping)
    _change_capabilities(result, flags)
    _scalars(result, flags)
    if flags.get("force"):
        result["TaskTemplate"]["ForceUpdate"] = result["TaskTemplate"].get("ForceUpdate", 0) + 1
    return result


def _mode(flags: Flags) -> Spec:
    mode, replicas = flags.get("mode") or "replicated", flags.get("replicas")
    if mode.startswith("global"):
        if replicas is not None:
            raise InvalidArgumentError("replicas can only be used with replicated or replicated-job mode")
        return {MODES[mode]: {}}
    if mode == "replicated-job":
        total = 1 if replicas is None else replicas
        concurrent = flags.get("max_concurrent")
        return {
            "ReplicatedJob": {"MaxConcurrent": total if concurrent is None else concurrent, "TotalCompletions": total}
        }
    return {"Replicated": {"Replicas": 1 if replicas is None else replicas}}


def _scalars(spec: Spec, flags: Flags) -> None:
    for flag, place in _SCALAR_PATHS.items():
        if flags.get(flag) is not None:
            if place[0] in ("UpdateConfig", "RollbackConfig"):
                spec.setdefault(place[0], {}).setdefault("Parallelism", 1)  # one that is not sent means all at once
            _put(spec, place, flags[flag])
    if flags.get("entrypoint") is not None:
        _put(spec, (*_CONTAINER, "Command"), _shell_words(flags["entrypoint"], "entrypoint"))
    if flags.get("log_opt"):
        _put(spec, ("TaskTemplate", "LogDriver", "Options"), parse_key_values(flags["log_opt"]))
    if flags.get("health_cmd") is not None:
        _put(
            spec,
            (*_CONTAINER, "Healthcheck", "Test"),
            ["CMD-SHELL", flags["health_cmd"]] if flags["health_cmd"] else [],
        )
    if flags.get("no_healthcheck"):
        if any(flags.get(name) is not None for name in flags if name.startswith("health_")):
            raise InvalidArgumentError("--no-healthcheck conflicts with --health-* options")
        _put(spec, (*_CONTAINER, "Healthcheck"), {"Test": ["NONE"]})


def _capabilities(spec: Spec, add: list[str], drop: list[str]) -> None:
    for key, items in (("CapabilityAdd", add), ("CapabilityDrop", drop)):
        if items or _get(spec, (*_CONTAINER, key)):
            _put(spec, (*_CONTAINER, key), items)


def _change_capabilities(spec: Spec, flags: Flags) -> None:
    """Adding what was dropped only takes it from there, and the other way round, as Docker does; doing so again adds it."""
    added = {normal(name) for name in flags.get("cap_add_add") or ()}
    dropped = {normal(name) for name in flags.get("cap_drop_add") or ()}
    if not added and not dropped:
        return
    old_add = set(_get(spec, (*_CONTAINER, "CapabilityAdd")) or ())
    old_drop = set(_get(spec, (*_CONTAINER, "CapabilityDrop")) or ())
    new_add = (old_add - dropped) | {name for name in added if name not in old_drop}
    new_drop = (old_drop - added) | {name for name in dropped - added if name not in old_add}
    _capabilities(spec, sorted(new_add), sorted(new_drop))


def _add(spec: Spec, kind: _ListFlag, items: Sequence[Any]) -> None:
    """Add each, in place of an entry of the same name."""
    if not items:
        return
    known = {kind.identity(item): item for item in _get(spec, kind.path) or ()}
    known.update((kind.identity(item), item) for item in items)
    _put(spec, kind.path, list(known.values()))


def _remove(spec: Spec, kind: _ListFlag, refs: Sequence[str], names: ObjectIds, flag: str) -> None:
    for ref in refs:
        wanted = {ref, names.networks.get(ref, ref)} if flag == "network" else {_removed_name(flag, ref)}
        items = _get(spec, kind.path) or []
        left = [item for item in items if kind.identity(item) not in wanted]
        if len(left) == len(items):
            raise InvalidArgumentError(f"--{flag.replace('_', '-')}-rm {ref}: the service has no such entry")
        _put(spec, kind.path, left)


def _removed_name(flag: str, ref: str) -> str:
    if flag == "publish":
        return ref if "/" in ref else f"{ref}/tcp"
    return flag_values.parse_host(ref) if flag == "host" and ":" in ref else ref


def _shell_words(text: str, flag: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError as error:
        raise InvalidArgumentError(f"--{flag} {text}: {error}") from error


def _get(spec: Mapping[str, Any], place: tuple[str, ...]) -> Any:
    value: Any = spec
    for key in place:
        value = (value or {}).get(key)
    return value


def _put(spec: Spec, place: tuple[str, ...], value: Any) -> None:
    for key in place[:-1]:
        if not isinstance(spec.get(key), dict):
            spec[key] = {}
        spec = spec[key]
    spec[place[-1]] = value
