"""The service of a one-off container: that of the project with the changes of the flags of ``run``. Pure."""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from cli.compose.model import Application
from compose.project.short_forms import parse_project_ports
from covey.errors import InvalidArgumentError, NotFoundError


def one_off_application(
    application: Application, service: str, command: tuple[str, ...], flags: Mapping[str, Any], *, tty: bool
) -> Application:
    """The project in which the service is as a one-off container needs it.

    Raises:
        NotFoundError: the project has no such service.
    """
    if service not in application.services:
        raise NotFoundError(f"no such service: {service}")
    values = dict(application.services[service])
    for key in ("container_name", "restart"):
        values.pop(key, None)
    values["deploy"] = {
        key: item for key, item in (values.get("deploy") or {}).items() if key not in ("restart_policy", "replicas")
    }
    if not flags["service_ports"]:
        values["ports"] = []
    for text in flags["publish"]:
        values["ports"] = [*(values.get("ports") or ()), *_ports(text)]
    if flags["entrypoint"] is not None:
        values |= {"entrypoint": shlex.split(flags["entrypoint"]) or [""], "command": None}
    if command:
        values["command"] = list(command)
    if flags["user"] is not None:
        values["user"] = flags["user"]
    if flags["workdir"] is not None:
        values["working_dir"] = flags["workdir"]
    if flags["variables"]:
        values["environment"] = {
            **(values.get("environment") or {}),
            **{
                name: application.environment.get(name) if value is None else value
                for name, value in flags["variables"].items()
            },
        }
    values["labels"] = {**(values.get("labels") or {}), **dict(_pair(text) for text in flags["labels"])}
    for key in ("cap_add", "cap_drop"):
        if flags[key]:
            values[key] = [*(values.get(key) or ()), *flags[key]]
    values["volumes"] = [*(values.get("volumes") or ()), *(_volume(text, application) for text in flags["volumes"])]
    values |= {"tty": tty, "stdin_open": bool(flags["interactive"]) and not flags["detach"]}
    return msgspec.structs.replace(application, services={**application.services, service: values})


def _ports(text: str) -> list[dict[str, Any]]:
    return [dict(item) for item in parse_project_ports(text)]


def _pair(text: str) -> tuple[str, str]:
    name, _, value = text.partition("=")
    return name, value


def _volume(text: str, application: Application) -> dict[str, Any]:
    """``[SOURCE:]TARGET[:ro]``; a source that is a path is bound.

    Raises:
        InvalidArgumentError: a volume that the project does not have.
    """
    parts = text.split(":")
    if len(parts) == 1:
        return {"type": "volume", "target": text}
    source, target, read_only = parts[0], parts[1], "ro" in parts[2:3]
    if source.startswith(("/", ".", "~")):
        source = str(Path(source).expanduser().absolute())
        return {"type": "bind", "source": source, "target": target, "read_only": read_only, "bind": {}}
    if source not in application.volumes:
        raise InvalidArgumentError(
            f"--volume {text}: the project has no volume {source}; use a path or a declared volume"
        )
    return {"type": "volume", "source": source, "target": target, "read_only": read_only, "volume": {}}
