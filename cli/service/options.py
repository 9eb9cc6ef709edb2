"""The click options of ``service create`` and ``service update``, made from ``cli.parse.service_flags`` and the special flags here.

An option that is not given is None or empty. Options are listed in alphabetical order, as ``docker`` lists them.
"""

from collections.abc import Callable
from typing import Any

import click

from cli.parse.param_types import COUNT
from cli.parse.service_flags import LIST_FLAGS, SCALAR_FLAGS, SWITCH, ScalarFlag, parameter

Decorator = Callable[[Any], Any]

# Flags that are not the value of one field, by name.
SPECIAL_FLAGS: dict[str, Decorator] = {
    "replicas": click.option("--replicas", type=COUNT, help="How many tasks."),
    "max-concurrent": click.option("--max-concurrent", type=COUNT, help="How many tasks of a job run at once."),
    "entrypoint": click.option("--entrypoint", help="In place of the image's entrypoint."),
    "health-cmd": click.option("--health-cmd", help="The command that checks health."),
    "no-healthcheck": click.option("--no-healthcheck", is_flag=True, default=None, help="Without the image's check."),
    "log-opt": click.option("--log-opt", multiple=True, metavar="KEY=VALUE", help="Options of the log driver."),
    "detach": click.option("-d", "--detach", is_flag=True, help="Do not wait until the service has converged."),
    "quiet": click.option("-q", "--quiet", is_flag=True, help="Show no progress."),
    "with-registry-auth": click.option("--with-registry-auth", is_flag=True, hidden=True),
    "no-resolve-image": click.option("--no-resolve-image", is_flag=True, hidden=True),
}


def create_options(function: Any) -> Any:
    """Adds the flags of ``service create``."""
    options = {
        flag.name: click.option(
            *_names(flag.short, flag.name), parameter(flag.name), multiple=True, metavar=flag.metavar, help=flag.help
        )
        for flag in LIST_FLAGS
    }
    return _add_options(function, options)


def update_options(function: Any) -> Any:
    """Adds the flags of ``service update``. ``--cap-add`` and ``--cap-drop`` have no ``-add`` and ``-rm``: each undoes the other."""
    options: dict[str, Decorator] = {}
    for flag in LIST_FLAGS:
        if flag.name.startswith("cap-"):
            options[flag.name] = click.option(
                f"--{flag.name}", f"{parameter(flag.name)}_add", multiple=True, metavar=flag.metavar, help=flag.help
            )
            continue
        options[f"{flag.name}-add"] = click.option(
            f"--{flag.name}-add", multiple=True, metavar=flag.metavar, help=f"Add or change: {flag.help}"
        )
        options[f"{flag.name}-rm"] = click.option(f"--{flag.name}-rm", multiple=True, help=f"Remove: {flag.help}")
    return _add_options(function, options)


def _add_options(function: Any, lists: dict[str, Decorator]) -> Any:
    options = lists | {flag.name: _scalar_option(flag) for flag in SCALAR_FLAGS} | SPECIAL_FLAGS
    for name in sorted(options, reverse=True):
        function = options[name](function)
    return function


def _scalar_option(flag: ScalarFlag) -> Decorator:
    if flag.type is SWITCH:
        switch = f"--{flag.name}/--no-{flag.name}"
        return click.option(*[name for name in (flag.short, switch) if name], default=None, help=flag.help)
    return click.option(*_names(flag.short, flag.name), type=flag.type, help=flag.help)


def _names(short: str, name: str) -> list[str]:
    return [text for text in (short, f"--{name}") if text]
