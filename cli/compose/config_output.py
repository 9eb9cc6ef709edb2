"""What ``config`` prints besides the whole file: lists of names, hashes, selected services. Pure."""

from collections.abc import Mapping
from typing import Any

from cli.compose import labels
from cli.compose.config_hash import service_hash
from cli.compose.model import Application
from cli.compose.plan import selected_services
from compose.nodes import MappingNode, plain
from covey.errors import NotFoundError


def listed(application: Application, wanted: Mapping[str, Any]) -> list[str] | None:
    """The lines of the list that was asked for; None for the whole file.

    Raises:
        NotFoundError: a service whose hash is asked for does not exist.
    """
    services = application.services
    if wanted["hashed"]:
        names = sorted(services) if wanted["hashed"] == "*" else wanted["hashed"].split(",")
        if missing := [name for name in names if name not in services]:
            raise NotFoundError(f"no such service: {missing[0]}")
        return [f"{name} {service_hash(services[name])}" for name in names]
    if wanted["names"]:
        return selected_services(application, (), dependencies=True)
    if wanted["images"]:
        return [labels.image_name(application.name, services[name], name) for name in sorted(services)]
    if wanted["networks"]:
        return sorted(application.networks)
    if wanted["volumes"]:
        return sorted(application.volumes)
    if wanted["profiles"]:
        known = [*services.values(), *application.disabled.values()]
        return sorted({str(profile) for item in known for profile in item.get("profiles") or ()})
    if wanted["environment"]:
        return [f"{name}={value}" for name, value in sorted(application.environment.items())]
    return None


def selected_content(content: MappingNode, names: tuple[str, ...]) -> MappingNode:
    """The file with the named services and those that they need; all where none is named.

    Raises:
        NotFoundError: a service that the file does not have.
    """
    services = content.get("services")
    if not names or not isinstance(services, MappingNode):
        return content
    kept = set(selected_services(Application("", services=plain(services)), names, dependencies=True))
    chosen = services.with_items({name: node for name, node in services.items.items() if name in kept})
    return content.with_items({**content.items, "services": chosen})
