"""Shell completion of object names (services, nodes, containers, networks and others) from the daemon's lists.

Invariant: completion never prints an error and never waits long. A daemon that does not answer means no suggestions.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import click

TIMEOUT_SECONDS = 2.0
STACK_LABEL = "com.docker.stack.namespace"
Completer = Callable[[click.Context, click.Parameter, str], list[Any]]


def _spec_names(items: Iterable[Any]) -> list[str]:
    return [item["Spec"]["Name"] for item in items]


def _hostnames(items: Iterable[Any]) -> list[str]:
    return [item["Description"]["Hostname"] for item in items]


def _names(items: Iterable[Any]) -> list[str]:
    return [item["Name"] for item in items]


def _container_names(items: Iterable[Any]) -> list[str]:
    return [item["Names"][0].removeprefix("/") for item in items if item.get("Names")]


def _image_names(items: Iterable[Any]) -> list[str]:
    return [tag for item in items for tag in item.get("RepoTags") or ()]


def _volume_names(answer: Mapping[str, Any]) -> list[str]:
    return _names(answer.get("Volumes") or ())


def _stack_names(items: Iterable[Any]) -> list[str]:
    return [(item["Spec"].get("Labels") or {}).get(STACK_LABEL, "") for item in items]


# The kind of object: the path that lists it, the query, and the names in the answer.
SOURCES: Mapping[str, tuple[str, Mapping[str, Any], Callable[[Any], list[str]]]] = {
    "config": ("/configs", {}, _spec_names),
    "container": ("/containers/json", {"all": True}, _container_names),
    "image": ("/images/json", {}, _image_names),
    "network": ("/networks", {}, _names),
    "node": ("/nodes", {}, _hostnames),
    "running container": ("/containers/json", {}, _container_names),
    "secret": ("/secrets", {}, _spec_names),
    "service": ("/services", {}, _spec_names),
    "stack": ("/services", {"filters": {"label": [STACK_LABEL]}}, _stack_names),
    "volume": ("/volumes", {}, _volume_names),
}


def complete(*kinds: str, suffix: str = "", extra: tuple[str, ...] = ()) -> Completer:
    """A ``shell_complete`` callback for names of these kinds, without those that the command line already has.

    Args:
        kinds: keys of ``SOURCES``.
        suffix: what follows a name, such as ``=``.
        extra: words that are offered beside the names.
    """

    def names(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[Any]:
        from click.shell_completion import CompletionItem

        used = ctx.params.get(param.name or "") or ()
        used = (used,) if isinstance(used, str) else used
        found = {*extra, *(name for kind in kinds for name in _list(ctx, kind))}
        listed = sorted(name + suffix for name in found if name)
        return [CompletionItem(name) for name in listed if name.startswith(incomplete) and name not in used]

    return names


def _list(ctx: click.Context, kind: str) -> list[str]:
    from cli.client import DaemonClient
    from cli.daemon_address import daemon_address
    from covey.errors import CoveyError

    path, query, read = SOURCES[kind]
    try:
        address = daemon_address(ctx.find_root().params)
        return read(DaemonClient(address, timeout_seconds=TIMEOUT_SECONDS).get(path, query))
    except (CoveyError, LookupError, ValueError, TypeError, AttributeError):
        return []
