"""The labels `covey.hook.post-start` and `covey.hook.pre-stop`: commands that a node runs in the containers of a service. Pure.

    covey.hook.post-start=touch /ready
    covey.hook.pre-stop=[{"command": ["/bin/drain", "--now"], "user": "app", "environment": {"A": "b"}, "working_dir": "/srv"}]

A value is a line for `/bin/sh -c`, or a list as Compose's `post_start` and `pre_stop` have.
"""

import json
from collections.abc import Mapping
from typing import Any

from covey.errors import InvalidArgumentError
from covey.objects import Hook

POST_START_LABEL = "covey.hook.post-start"
PRE_STOP_LABEL = "covey.hook.pre-stop"
MAX_HOOKS = 16
_KEYS = frozenset({"command", "user", "working_dir", "environment"})


def parse_post_start(text: str) -> tuple[Hook, ...]:
    return _parse(POST_START_LABEL, text)


def parse_pre_stop(text: str) -> tuple[Hook, ...]:
    return _parse(PRE_STOP_LABEL, text)


def hooks(labels: Mapping[str, str]) -> tuple[tuple[Hook, ...], tuple[Hook, ...]]:
    """The hooks after the start and before the stop that the labels name."""
    return parse_post_start(labels.get(POST_START_LABEL, "")), parse_pre_stop(labels.get(PRE_STOP_LABEL, ""))


def _parse(label: str, text: str) -> tuple[Hook, ...]:
    """The hooks of a label, in its order. Raises InvalidArgumentError that names the label."""
    if not text.strip():
        return ()
    if not text.lstrip().startswith("["):
        return (Hook(command=("/bin/sh", "-c", text)),)
    try:
        items = json.loads(text)
    except ValueError as error:
        raise _invalid(label, f"the list is no JSON: {error}") from None
    if len(items) > MAX_HOOKS:
        raise _invalid(label, f"{len(items)} hooks are given, the limit is {MAX_HOOKS}")
    return tuple(_hook(label, number, item) for number, item in enumerate(items))


def _hook(label: str, number: int, item: Any) -> Hook:
    if not isinstance(item, dict):
        raise _invalid(label, f"hook {number} is not an object")
    unknown = sorted(item.keys() - _KEYS)
    if unknown:
        raise _invalid(label, f"hook {number}: {unknown[0]} is unknown; use {', '.join(sorted(_KEYS))}")
    command = item.get("command")
    if isinstance(command, str):
        command = ["/bin/sh", "-c", command]
    if not isinstance(command, list) or not command or not all(isinstance(word, str) for word in command):
        raise _invalid(label, f"hook {number} needs a command: a line or a list of words")
    texts = {key: item.get(key, "") for key in ("user", "working_dir")}
    if not all(isinstance(value, str) for value in texts.values()):
        raise _invalid(label, f"hook {number}: user and working_dir are texts")
    return Hook(
        command=tuple(command),
        user=texts["user"],
        dir=texts["working_dir"],
        env=_environment(label, number, item.get("environment")),
    )


def _environment(label: str, number: int, value: Any) -> tuple[str, ...]:
    if value is None:
        return ()
    if isinstance(value, dict):
        value = [f"{key}={'' if text is None else text}" for key, text in value.items()]
    if not isinstance(value, list) or not all(isinstance(line, str) for line in value):
        raise _invalid(label, f"hook {number}: environment is an object or a list of KEY=VALUE")
    return tuple(value)


def _invalid(label: str, reason: str) -> InvalidArgumentError:
    return InvalidArgumentError(f"label {label}: {reason}")
