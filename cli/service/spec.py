"""Builds a service spec from the flags of ``service create``, or changes one by the flags of ``service update``. Pure.

Law: a flag that was not given changes nothing; removing what is not there is an error, so that a mistyped name is told.
"""

import copy
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from cli.parse import flag_values
from cli.parse.capabilities import effective, normal
from cli.parse.key_values import parse_key_values
from cli.parse.service_choices import MODES
from cli.parse.service_flags import LIST_FLAGS, SCALAR_FLAGS, ListFlag, ObjectIds, parameter
from covey.errors import InvalidArgumentError

Spec = dict[str, Any]
Flags = Mapping[str, Any]

_CONTAINER = ("TaskTemplate", "ContainerSpec")


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
    for flag in LIST_FLAGS:
        values = flags.get(parameter(flag.name)) or ()
        if flag.parse is not None:
            _add(spec, flag, [flag.parse(text, names) for text in values])
        elif flag.path and values:
            _put(spec, flag.path, parse_key_values(values))
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
    for flag in LIST_FLAGS:
        added, removed = (flags.get(f"{parameter(flag.name)}_{suffix}") or () for suffix in ("add", "rm"))
        if flag.parse is not None:
            _remove(result, flag, removed, names)
            _add(result, flag, [flag.parse(text, names) for text in added])
        elif flag.path and (added or removed):
            before = _get(result, flag.path) or {}
            after = {key: value for key, value in before.items() if key not in removed} | parse_key_values(added)
            if before or after:
                _put(result, flag.path, after)
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
    for flag in SCALAR_FLAGS:
        value = flags.get(parameter(flag.name))
        if value is not None:
            if flag.path[0] in ("UpdateConfig", "RollbackConfig"):
                spec.setdefault(flag.path[0], {}).setdefault(
                    "Parallelism", 1
                )  # the API takes an absent one as 0: all at once
            _put(spec, flag.path, value)
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


def _add(spec: Spec, flag: ListFlag, items: Sequence[Any]) -> None:
    """Add each, in place of an entry of the same name."""
    if not items:
        return
    known = {flag.identity(item): item for item in _get(spec, flag.path) or ()}
    known.update((flag.identity(item), item) for item in items)
    _put(spec, flag.path, list(known.values()))


def _remove(spec: Spec, flag: ListFlag, refs: Sequence[str], names: ObjectIds) -> None:
    for ref in refs:
        wanted = {ref, names.networks.get(ref, ref)} if flag.name == "network" else {_removed_name(flag.name, ref)}
        items = _get(spec, flag.path) or []
        left = [item for item in items if flag.identity(item) not in wanted]
        if len(left) == len(items):
            raise InvalidArgumentError(f"--{flag.name}-rm {ref}: the service has no such entry")
        _put(spec, flag.path, left)


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
