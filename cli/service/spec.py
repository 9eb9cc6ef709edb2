"""Builds a service spec from the flags of ``service create``, or changes one by the flags of ``service update``. Pure.

Invariant: an absent flag changes nothing. Removing an entry that the service lacks is an error, so that a mistyped name is noticed.
"""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from cli.parse.key_values import parse_key_values
from cli.parse.service_choices import MODES
from cli.parse.service_flags import CONTAINER, FLAGS, HEALTH, LISTS, ListFlag, MapFlag, ObjectIds, shell_words
from covey.capabilities import effective, normal
from covey.errors import InvalidArgumentError

Spec = dict[str, Any]
Flags = Mapping[str, Any]
_JOBS_ONLY = "max-concurrent can only be used with replicated-job mode"


def new_spec(image: str, args: Sequence[str], flags: Flags, ids: ObjectIds) -> Spec:
    """The spec of ``service create``.

    Raises:
        InvalidArgumentError: conflicting flags or a wrong value.
    """
    spec: Spec = {
        "Name": flags.get("name") or "",
        "Labels": {},
        "TaskTemplate": {"ContainerSpec": {"Image": image}},
        "Mode": _mode(flags),
        "EndpointSpec": {},
    }
    if (flags.get("mode") or "").endswith("-job") and _changes_updates(flags):
        raise InvalidArgumentError("update and rollback configuration is not supported for jobs")
    if args:
        spec["TaskTemplate"]["ContainerSpec"]["Args"] = list(args)
    for flag in LISTS:
        texts = flags.get(flag.key) or ()
        if isinstance(flag, MapFlag):
            _update_map(spec, flag, texts, ())
        else:
            _add(spec, flag, _parsed(flag, texts, ids))
    add, drop = effective(flags.get("cap_add") or (), flags.get("cap_drop") or ())
    _capabilities(spec, add, drop)
    _scalars(spec, flags)
    return spec


def updated_spec(spec: Mapping[str, Any], flags: Flags, ids: ObjectIds) -> Spec:
    """The spec of ``service update``."""
    result: Spec = copy.deepcopy(dict(spec))
    container = result["TaskTemplate"]["ContainerSpec"]
    if flags.get("image"):
        container["Image"] = flags["image"]
    if flags.get("args") is not None:
        container["Args"] = shell_words("args")(flags["args"])
    if flags.get("replicas") is not None:
        if "Replicated" not in result["Mode"]:
            raise InvalidArgumentError("replicas can only be used with replicated mode")
        result["Mode"] = {"Replicated": {"Replicas": flags["replicas"]}}
    if flags.get("max_concurrent") is not None:
        if "ReplicatedJob" not in result["Mode"]:
            raise InvalidArgumentError(_JOBS_ONLY)
        result["Mode"]["ReplicatedJob"]["MaxConcurrent"] = flags["max_concurrent"]
    for flag in LISTS:
        added, removed = (flags.get(f"{flag.key}_{suffix}") or () for suffix in ("add", "rm"))
        if isinstance(flag, MapFlag):
            _update_map(result, flag, added, removed)
        else:
            _remove(result, flag, removed, ids)
            _add(result, flag, _parsed(flag, added, ids))
    _change_capabilities(result, flags)
    _scalars(result, flags)
    if flags.get("force"):
        result["TaskTemplate"]["ForceUpdate"] = result["TaskTemplate"].get("ForceUpdate", 0) + 1
    return result


def _changes_updates(flags: Flags) -> bool:
    """Whether a flag says how to update or to roll back."""
    return any(
        flag.path[:1] in (("UpdateConfig",), ("RollbackConfig",)) and flags.get(flag.key) is not None for flag in FLAGS
    )


def _mode(flags: Flags) -> Spec:
    mode, replicas = flags.get("mode") or "replicated", flags.get("replicas")
    if mode != "replicated-job" and flags.get("max_concurrent") is not None:
        raise InvalidArgumentError(_JOBS_ONLY)
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
    for flag in FLAGS:
        value = flags.get(flag.key)
        if not flag.path or value in (None, ()):
            continue
        if flag.path[0] in ("UpdateConfig", "RollbackConfig"):
            # The API takes an absent parallelism as 0, which means all tasks at once.
            spec.setdefault(flag.path[0], {}).setdefault("Parallelism", 1)
        _put(spec, flag.path, flag.to_spec(value))
    if flags.get("no_healthcheck"):
        if any(flags.get(name) is not None for name in flags if name.startswith("health_")):
            raise InvalidArgumentError("--no-healthcheck conflicts with --health-* options")
        _put(spec, HEALTH, {"Test": ["NONE"]})


def _capabilities(spec: Spec, add: list[str], drop: list[str]) -> None:
    for key, items in (("CapabilityAdd", add), ("CapabilityDrop", drop)):
        if items or _get(spec, (*CONTAINER, key)):
            _put(spec, (*CONTAINER, key), items)


def _change_capabilities(spec: Spec, flags: Flags) -> None:
    """Apply ``--cap-add`` and ``--cap-drop`` as docker does: adding a dropped capability only removes it from the dropped ones."""
    added = {normal(name) for name in flags.get("cap_add") or ()}
    dropped = {normal(name) for name in flags.get("cap_drop") or ()}
    if not added and not dropped:
        return
    old_add = set(_get(spec, (*CONTAINER, "CapabilityAdd")) or ())
    old_drop = set(_get(spec, (*CONTAINER, "CapabilityDrop")) or ())
    new_add = (old_add - dropped) | {name for name in added if name not in old_drop}
    new_drop = (old_drop - added) | {name for name in dropped - added if name not in old_add}
    _capabilities(spec, sorted(new_add), sorted(new_drop))


def _add(spec: Spec, flag: ListFlag, items: Sequence[Any]) -> None:
    """Add entries to a list; an entry with the same identity is replaced."""
    if not items:
        return
    entries = {flag.identity(item): item for item in _get(spec, flag.path) or ()}
    entries.update((flag.identity(item), item) for item in items)
    _put(spec, flag.path, list(entries.values()))


def _parsed(flag: ListFlag, texts: Sequence[str], ids: ObjectIds) -> list[Any]:
    return [flag.parse(each, ids) for text in texts for each in flag.expand(text)]


def _remove(spec: Spec, flag: ListFlag, texts: Sequence[str], ids: ObjectIds) -> None:
    identity = flag.removal_identity or flag.identity
    for text in [one for each in texts for one in flag.expand(each)]:
        items = _get(spec, flag.path) or []
        left = [item for item in items if identity(item) not in (text, flag.reference(text, ids))]
        if len(left) == len(items):
            raise InvalidArgumentError(f"--{flag.name}-rm {text}: the service has no such entry")
        _put(spec, flag.path, left)


def _update_map(spec: Spec, flag: MapFlag, added: Sequence[str], removed: Sequence[str]) -> None:
    before = _get(spec, flag.path) or {}
    after = {key: value for key, value in before.items() if key not in removed} | parse_key_values(added)
    if (added or removed) and (before or after):
        _put(spec, flag.path, after)


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
