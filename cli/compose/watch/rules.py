"""The rules of the services' ``develop.watch`` sections, and which path each of them is about. Pure.

Patterns are those of ``.dockerignore``: relative to the rule's path, and in the build context's file to that context.
"""

import posixpath
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum

import msgspec

from cli.build.ignore import IgnorePatterns
from cli.compose.model import Application, Values
from covey.errors import InvalidArgumentError, NotFoundError

_TEMPORARY = (
    "**/.git",
    *("**/*~", "**/4913", "**/.*.sw[a-p]", "**/.*.swx", "**/.*.swpx"),  # vim
    *("**/.#*", "**/#*#"),  # Emacs
    *("**/.idea", "**/*___jb_tmp___", "**/*___jb_old___"),  # JetBrains
    *("**/.*.kate-swp", "**/.goutputstream-*"),
)
"""Files of Git and of editors that no rule is about."""


class WatchAction(StrEnum):
    """What a rule does when a file changes."""

    SYNC = "sync"
    REBUILD = "rebuild"
    RESTART = "restart"
    SYNC_RESTART = "sync+restart"
    SYNC_EXEC = "sync+exec"

    @property
    def copies(self) -> bool:
        return self.value.startswith("sync")


class WatchRule(msgspec.Struct, frozen=True):
    """One entry of a ``develop.watch`` section.

    Attributes:
        service: the service.
        path: the absolute file or directory.
        action: what to do.
        target: the absolute path in the container; empty if the rule copies nothing.
        hook: the command of ``sync+exec``.
        initial_sync: copy the files when the watch begins.
        include: patterns of the paths that the rule is about; None means all.
        ignore: patterns of paths that it is not about.
        context: the absolute build context; empty without one.
        context_ignore: the patterns of the context's ``.dockerignore``.
        temporary: patterns of files that no rule is about.
    """

    service: str
    path: str
    action: WatchAction
    target: str
    hook: Values
    initial_sync: bool
    include: IgnorePatterns | None
    ignore: IgnorePatterns
    context: str
    context_ignore: IgnorePatterns
    temporary: IgnorePatterns

    def covers(self, path: str) -> bool:
        """Whether a change of this absolute path is one for the rule."""
        inside = relative(path, self.path)
        if inside is None or self._ignores(path, inside):
            return False
        return self.include is None or (inside != "." and self.include.excludes(inside))

    def enters(self, folder: str) -> bool:
        """Whether something in this folder can be one for the rule."""
        if relative(self.path, folder) is not None:
            return True
        inside = relative(folder, self.path)
        if inside is None:
            return False
        excepting = self.ignore.has_exceptions or self.context_ignore.has_exceptions
        return excepting or not self._ignores(folder, inside)

    def container_path(self, path: str) -> str:
        """Where a covered path is in the container."""
        return posixpath.normpath(posixpath.join(self.target, relative(path, self.path) or "."))

    def _ignores(self, path: str, inside: str) -> bool:
        if inside != "." and (self.ignore.excludes(inside) or self.temporary.excludes(inside)):
            return True
        in_context = relative(path, self.context) if self.context else None
        return in_context not in (None, ".") and self.context_ignore.excludes(in_context or "")


def relative(path: str, top: str) -> str | None:
    """A path relative to a directory above it: ``.`` for the directory itself, None if it is not there."""
    if path == top:
        return "."
    start = top if top.endswith("/") else f"{top}/"
    return path[len(start) :] if path.startswith(start) else None


def watch_rules(
    application: Application, services: Iterable[str], context_lines: Mapping[str, Sequence[str]]
) -> tuple[list[WatchRule], list[str]]:
    """The rules of services, and notices about what is not watched.

    Args:
        application: the project.
        services: the names of the services.
        context_lines: the lines of ``.dockerignore`` of each service that has a build context.

    Raises:
        NotFoundError: no service has a rule.
        InvalidArgumentError: a rule that cannot be followed.
    """
    found: list[WatchRule] = []
    notices: list[str] = []
    unwatched = []
    any_section = False
    temporary = IgnorePatterns(_TEMPORARY)
    for name in services:
        service = application.services[name]
        section = (service.get("develop") or {}).get("watch") or ()
        any_section = any_section or bool(section)
        if not section:
            unwatched.append(name)
        context = str((service.get("build") or {}).get("context", ""))
        context_ignore = IgnorePatterns(context_lines.get(name, ()))
        for entry in section:
            rule = _rule(name, service, entry, context.rstrip("/"), context_ignore, temporary)
            if rule.action.copies and _is_mounted(rule.path, service):
                notices.append(f"path '{rule.path}' is in a bind mount of service {name} too, so it is not watched")
            else:
                found.append(rule)
    if not any_section:
        raise NotFoundError(
            "none of the selected services is configured for watch, consider setting a 'develop' section"
        )
    if unwatched:
        notices.append(f"not watched, without a develop.watch section: {', '.join(unwatched)}")
    return found, notices


def _rule(  # noqa: PLR0917 - the parts of one rule
    name: str,
    service: Values,
    entry: Values,
    context: str,
    context_ignore: IgnorePatterns,
    temporary: IgnorePatterns,
) -> WatchRule:
    action = WatchAction(entry["action"])
    if action == WatchAction.REBUILD and not service.get("build"):
        raise InvalidArgumentError(f'can\'t watch service "{name}" with action rebuild without a build context')
    hook = entry.get("exec") or {}
    if action == WatchAction.SYNC_EXEC and not hook.get("command"):
        raise InvalidArgumentError(f"services.{name}.develop.watch: action sync+exec needs an exec.command")
    return WatchRule(
        service=name,
        path=posixpath.normpath(str(entry["path"])),
        action=action,
        target=_absolute_target(str(entry.get("target") or ""), service) if action.copies else "",
        hook=hook,
        initial_sync=bool(entry.get("initial_sync") or entry.get("x-initialSync")) and action.copies,
        include=_patterns(entry, "include", name) if entry.get("include") else None,
        ignore=_patterns(entry, "ignore", name),
        context=context if context.startswith("/") else "",
        context_ignore=context_ignore,
        temporary=temporary,
    )


def _patterns(entry: Values, key: str, service: str) -> IgnorePatterns:
    listed = entry.get(key) or ()
    texts = (listed,) if isinstance(listed, str) else listed
    return IgnorePatterns(texts, f"services.{service}.develop.watch: {key}")


def _absolute_target(target: str, service: Values) -> str:
    """The path in the container; relative ones are below the working directory of the service."""
    return posixpath.normpath(posixpath.join("/", str(service.get("working_dir") or ""), target))


def _is_mounted(path: str, service: Values) -> bool:
    return any(
        volume["type"] == "bind" and relative(path, posixpath.normpath(str(volume.get("source", "")))) is not None
        for volume in service.get("volumes") or ()
    )
