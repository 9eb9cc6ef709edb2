"""The command-line options of ``run``, ``create`` and ``update``, made from ``cli.parse.container_flags``.

Invariant: an option that is absent stays None, or empty if it can be given several times. A switch is true or false.
"""

from typing import Any

from cli.command import Command, Decorator, option
from cli.completion import complete
from cli.parse.container_flags import FLAGS, Flag
from covey.errors import InvalidArgumentError

# Names that docker accepts besides and does not list.
_OLD_NAMES = {"network": ("--net",), "network-alias": ("--net-alias",), "dns-option": ("--dns-opt",)}


def container_options(command: str) -> Decorator:
    """Add the options of one of ``run``, ``create`` and ``update``."""

    def decorate(function: Any) -> Any:
        for flag in FLAGS:
            if command in flag.commands:
                function = _option(flag, command)(function)
        return function

    return decorate


class ContainerCommand(Command):
    """``run`` or ``create``: options end at the image, and what follows is the container's command. ``-h`` is the host name."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        context = {
            "allow_interspersed_args": False,
            "help_option_names": ["--help"],
            **settings.pop("context_settings", {}),
        }
        super().__init__(*args, context_settings=context, **settings)


def refuse_windows_flags(flags: dict[str, Any]) -> None:
    """Refuse flags that exist for Windows only.

    Raises:
        InvalidArgumentError: one was given.
    """
    for flag in FLAGS:
        if flag.windows and flags.get(flag.key) is not None:
            raise InvalidArgumentError(f"--{flag.name} is only supported on Windows, but the daemon runs on Linux")


def _option(flag: Flag, command: str) -> Any:
    names = [flag.short] if flag.short else []
    settings: dict[str, Any] = {"help": _help(flag, command), "default": None, "default_text": _default(flag, command)}
    if flag.switch:
        settings["negation"] = False
    else:
        settings |= {"type": flag.type, "metavar": flag.metavar or None}
    if flag.multiple:
        settings |= {"multiple": True, "default": ()}
    if flag.completion:
        settings["shell_complete"] = complete(flag.completion)
    name = f"--{flag.name}/--no-{flag.name}" if flag.switch else f"--{flag.name}"
    return option(*names, name, *_OLD_NAMES.get(flag.name, ()), flag.key, **settings)


def _help(flag: Flag, command: str) -> str:
    if command == "create" and flag.name == "pull":
        return flag.help.replace("running", "creating")
    return flag.help


def _default(flag: Flag, command: str) -> str:
    if command == "update":
        return flag.default
    return {"restart": '"no"', "pull": '"missing"'}.get(flag.name, flag.default)
