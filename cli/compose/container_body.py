"""The body of ``POST /containers/create`` for a container of a service. Pure.

Invariant: for the same file it asks for what Docker Compose asks for.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from cli.compose import labels, networking
from cli.compose.config_hash import service_hash
from cli.compose.host_config import host_config
from cli.compose.model import Application
from covey.quantities import parse_duration

Values = Mapping[str, Any]
SECOND = 1_000_000_000


class ContainerRequest(msgspec.Struct, frozen=True):
    """Which container of a service to make.

    Attributes:
        service: the service's name.
        number: the container's number in its service.
        name: the container's name.
        image: the id of the image, for the label.
        containers: ids of containers by service, of those that the service refers to.
        names: names of containers by service, for links.
        one_off: a container of ``run``, with a slug.
        aliases: it answers to the service's name and aliases.
        seccomp: contents of seccomp profiles by path.
    """

    service: str
    number: int
    name: str
    image: str = ""
    containers: Mapping[str, str] = msgspec.field(default_factory=dict)
    names: Mapping[str, tuple[str, ...]] = msgspec.field(default_factory=dict)
    one_off: bool = False
    slug: str = ""
    aliases: bool = True
    seccomp: Mapping[str, str] = msgspec.field(default_factory=dict)


def container_body(application: Application, request: ContainerRequest) -> dict[str, Any]:
    """The body.

    Raises:
        UnsupportedError, InvalidArgumentError: a key that has no meaning on a host, by its name.
    """
    service = application.services[request.service]
    host, endpoints = host_config(application, service, request), networking.endpoints(application, service, request)
    body: dict[str, Any] = {
        "Hostname": service.get("hostname", ""),
        "Domainname": service.get("domainname", ""),
        "User": service.get("user", ""),
        "AttachStdout": True,
        "AttachStderr": True,
        "Tty": bool(service.get("tty")),
        "OpenStdin": bool(service.get("stdin_open")),
        "Env": environment(service.get("environment") or {}),
        "Cmd": service.get("command"),
        "Entrypoint": service.get("entrypoint"),
        "Image": labels.image_name(application.name, service, request.service),
        "WorkingDir": service.get("working_dir", ""),
        "ExposedPorts": networking.exposed_ports(service),
        "Labels": container_labels(application, service, request),
        "HostConfig": host,
        "NetworkingConfig": {"EndpointsConfig": endpoints},
    }
    if mac_address := service.get("mac_address"):
        body["MacAddress"] = mac_address
    if signal := service.get("stop_signal"):
        body["StopSignal"] = signal
    if grace := service.get("stop_grace_period"):
        body["StopTimeout"] = -(-parse_duration(grace) // SECOND)
    if "healthcheck" in service:
        body["Healthcheck"] = _health_check(service["healthcheck"])
    return body


def environment(variables: Mapping[str, Any]) -> list[str]:
    """``NAME=VALUE`` lines, ordered; a name alone removes the image's variable."""
    return [name if value is None else f"{name}={value}" for name, value in sorted(variables.items())]


def container_labels(application: Application, service: Values, request: ContainerRequest) -> dict[str, str]:
    result = {key: str(value) for key, value in (service.get("labels") or {}).items()}
    result |= {
        labels.PROJECT: application.name,
        labels.SERVICE: request.service,
        labels.NUMBER: str(request.number),
        labels.ONE_OFF: str(request.one_off),
        labels.CONFIG_HASH: service_hash(service),
        labels.IMAGE: request.image,
        labels.VERSION: labels.FORMAT_VERSION,
        labels.WORKING_DIRECTORY: application.directory,
        labels.CONFIG_FILES: ",".join(application.files),
    }
    if application.env_files:
        result[labels.ENVIRONMENT_FILE] = ",".join(application.env_files)
    if dependencies := service.get("depends_on"):
        result[labels.DEPENDS_ON] = labels.depends_on_label(dependencies)
    if request.slug:
        result[labels.SLUG] = request.slug
    return result


def _health_check(check: Values) -> dict[str, Any]:
    if check.get("disable"):
        return {"Test": ["NONE"]}
    result: dict[str, Any] = {"Test": list(check["test"])} if "test" in check else {}
    for key, name in (
        ("interval", "Interval"),
        ("timeout", "Timeout"),
        ("start_period", "StartPeriod"),
        ("start_interval", "StartInterval"),
    ):
        if check.get(key):
            result[name] = parse_duration(check[key])
    if check.get("retries"):
        result["Retries"] = int(check["retries"])
    return result
