"""The command-line options of ``service create`` and ``service update``, made from ``cli.parse.service_flags``.

Invariant: an option that is absent stays None, so that ``update`` changes only what was named.
"""

from typing import Any

from cli.command import Decorator, option
from cli.completion import Completer, complete
from cli.parse.service_flags import FLAGS, LISTS, Flag, ListFlag


def create_options(function: Any) -> Any:
    """Add the options of ``service create``."""
    return _decorate(function, "create", [_list_option(flag) for flag in LISTS])


def update_options(function: Any) -> Any:
    """Add the options of ``service update``."""
    return _decorate(function, "update", [made for flag in LISTS for made in _change_options(flag)])


def _decorate(function: Any, command: str, lists: list[Decorator]) -> Any:
    for decorator in [*(_option(flag, command) for flag in FLAGS if command in flag.commands), *lists]:
        function = decorator(function)
    return function


def _option(flag: Flag, command: str) -> Decorator:
    names = [flag.short] if flag.short else []
    settings: dict[str, Any] = {"help": flag.help, "supported": flag.supported, "default": None}
    if flag.switch:
        names.append(f"--{flag.name}/--no-{flag.name}")
    else:
        names.append(f"--{flag.name}")
        settings |= {"is_flag": True} if flag.present else {"type": flag.type, "metavar": flag.metavar or None}
    if flag.multiple:
        settings |= {"multiple": True, "default": ()}
    if command == "create":
        settings["default_text"] = flag.default
    return option(*names, flag.key, **settings)


def _list_option(flag: ListFlag) -> Decorator:
    names = [flag.short, f"--{flag.name}"] if flag.short else [f"--{flag.name}"]
    return option(
        *names,
        flag.key,
        multiple=True,
        metavar=flag.metavar,
        shell_complete=_completer(flag),
        supported=flag.supported,
        help=flag.help,
    )


def _change_options(flag: ListFlag) -> tuple[Decorator, Decorator]:
    article = "an" if flag.noun[0] in "aeio" else "a"
    by = f" by its {flag.removed_by}" if flag.removed_by else ""
    settings: dict[str, Any] = {"multiple": True, "shell_complete": _completer(flag), "supported": flag.supported}
    return (
        option(f"--{flag.name}-add", metavar=flag.metavar, help=f"Add or update {article} {flag.noun}", **settings),
        option(f"--{flag.name}-rm", metavar="list", help=f"Remove {article} {flag.noun}{by}", **settings),
    )


def _completer(flag: ListFlag) -> Completer | None:
    return complete(flag.completion) if flag.completion else None
