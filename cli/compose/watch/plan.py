"""Plans what a batch of changed files asks for: builds, copies, removals, restarts and commands. Pure.

Invariant: a service is built and restarted at most once for a batch, however many files changed; nothing outside a rule's target is
copied or removed, and ``/`` is never removed.
"""

from collections.abc import Iterable, Mapping

import msgspec

from cli.compose.watch.rules import WatchAction, WatchRule, relative


class Sync(msgspec.Struct, frozen=True):
    """Changes of the files in a service's containers.

    Attributes:
        copies: paths on this machine by their paths in the container.
        removals: paths in the container.
    """

    copies: Mapping[str, str] = msgspec.field(default_factory=dict)
    removals: tuple[str, ...] = ()

    @property
    def count(self) -> int:
        return len(self.copies) + len(self.removals)


class WatchPlan(msgspec.Struct, frozen=True):
    """What to do for a batch, in this order.

    Attributes:
        rebuilds: services whose image is built and whose containers are made anew.
        syncs: changes of files by service.
        restarts: services whose containers restart.
        commands: rules whose command runs in the containers.
    """

    rebuilds: tuple[str, ...] = ()
    syncs: Mapping[str, Sync] = msgspec.field(default_factory=dict)
    restarts: tuple[str, ...] = ()
    commands: tuple[WatchRule, ...] = ()


def plan_changes(rules: Iterable[WatchRule], changes: Mapping[str, bool]) -> WatchPlan:
    """The plan for changed paths.

    Args:
        rules: the rules of all watched services.
        changes: absolute paths, and whether each exists now.
    """
    matches = [(rule, [path for path in changes if rule.covers(path)]) for rule in rules]
    matches = [(rule, paths) for rule, paths in matches if paths]
    rebuilds = _services(rule for rule, _ in matches if rule.action == WatchAction.REBUILD)
    restarting = (WatchAction.RESTART, WatchAction.SYNC_RESTART)
    restarts = _services(rule for rule, _ in matches if rule.action in restarting)
    copying = _services(rule for rule, _ in matches if rule.action.copies)
    return WatchPlan(
        rebuilds=rebuilds,
        syncs={
            name: found
            for name in copying
            if (found := _sync([match for match in matches if match[0].service == name], changes)).count
        },
        restarts=tuple(name for name in restarts if name not in rebuilds or name in copying),
        commands=tuple(rule for rule, _ in matches if rule.action == WatchAction.SYNC_EXEC),
    )


def _services(rules: Iterable[WatchRule]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(rule.service for rule in rules))


def _sync(matches: Iterable[tuple[WatchRule, list[str]]], changes: Mapping[str, bool]) -> Sync:
    """The changes of one service. What exists goes before what is gone where two rules have the same target."""
    copies: dict[str, str] = {}
    gone: dict[str, None] = {}
    for rule, paths in matches:
        for path in paths if rule.action.copies else ():
            target = rule.container_path(path)
            if changes[path]:
                copies[target] = path
            elif target != "/":
                gone[target] = None
    needed = {"/".join(target.split("/")[:end]) for target in copies for end in range(1, target.count("/") + 2)}
    kept = [target for target in gone if target not in needed]
    return Sync(dict(sorted(copies.items())), tuple(sorted(_topmost(kept))))


def _topmost(paths: Iterable[str]) -> list[str]:
    """The paths that are not below others."""
    result: list[str] = []
    for path in sorted(paths, key=lambda path: path.split("/")):
        if not result or relative(path, result[-1]) is None:
            result.append(path)
    return result
