"""What ``config`` prints: the file, lists of names, hashes, variables, images with their digests."""

import json
from collections.abc import Mapping
from typing import Any

from cli.client import DaemonClient, path_segment
from cli.compose import labels
from cli.compose.config_hash import service_hash
from cli.compose.model import Application
from cli.compose.plan import selected_services
from cli.compose.session import Session, application_of
from cli.compose.wide_table import wide_table
from cli.registry.credentials import CredentialStore
from cli.registry.reference import parse_reference
from compose.nodes import MappingNode, node_of, plain
from compose.project.normalize import without_unused
from compose.variables import VariableUse
from covey.errors import CoveyError, NotFoundError


def config_text(session: Session, services: tuple[str, ...], flags: Mapping[str, Any]) -> str:
    """The output of ``config``.

    Raises:
        CoveyError: the files are not a project, or the digest of an image is not found.
    """
    from compose.project.json_output import project_json
    from compose.project.loader import load_variables
    from compose.project.output import model_yaml, project_yaml

    if flags["variables"]:
        return variables_text(load_variables(session.options()), as_json=flags["form"] == "json")
    interpolated = not flags["no_interpolate"]
    project = session.load(
        profiles=() if interpolated else ("*",),
        interpolated=interpolated,
        all_resources=bool(session.flags["all_resources"]) or not interpolated,
        resolved_paths=not flags["no_path_resolution"],
        resolved_environment=interpolated and not flags["no_env_resolution"],
        normalized=not flags["no_normalize"],
        consistent=not flags["no_consistency"],
    )
    application = application_of(project, tuple(session.flags["env_files"]))
    session.warn_ignored(application)
    lines = listed(application, services, flags)
    if lines is not None:
        return "".join(f"{line}\n" for line in lines)
    if flags["quiet"]:
        return ""
    content = selected_content(project.content, services)
    if flags["lock_image_digests"] or flags["resolve_image_digests"]:
        content = with_digests(session.daemon, content)
    if flags["lock_image_digests"]:
        content = images_only(content)
    if flags["form"] == "json":
        return project_json(content, escaped=interpolated)
    return project_yaml(content) if interpolated else model_yaml(content)


def variables_text(found: Mapping[str, VariableUse], *, as_json: bool) -> str:
    """The variables that the files name, as a table or as JSON."""
    uses = [found[name] for name in sorted(found)]
    if as_json:
        documents = {
            use.name: {
                "Name": use.name,
                "DefaultValue": use.default,
                "PresenceValue": use.present,
                "Required": use.required,
            }
            for use in uses
        }
        return json.dumps(documents, indent=4, ensure_ascii=False) + "\n\n"
    rows = [("NAME", "REQUIRED", "DEFAULT VALUE", "ALTERNATE VALUE")]
    rows += [(use.name, str(use.required).lower(), use.default, use.present) for use in uses]
    return wide_table(rows)


def with_digests(daemon: DaemonClient, content: MappingNode) -> MappingNode:
    """The file with the digest that the registry gives for each image now.

    Raises:
        CoveyError: a registry does not know an image or does not answer.
    """
    services = content.get("services")
    if not isinstance(services, MappingNode):
        return content
    resolved = {}
    for name, service in services.items.items():
        image = str(plain(service).get("image") or "")
        resolved[name] = service
        if isinstance(service, MappingNode) and image:
            pinned = node_of(_with_digest(daemon, image), service.items["image"].location)
            resolved[name] = service.with_items({**service.items, "image": pinned})
    return content.with_items({**content.items, "services": services.with_items(resolved)})


def _with_digest(daemon: DaemonClient, image: str) -> str:
    reference = parse_reference(image)
    if reference.digest:
        return f"{reference.name}@{reference.digest}"
    try:
        found = daemon.call(
            "GET",
            f"/distribution/{path_segment(image)}/json",
            headers=CredentialStore().header(reference.credentials_key),
        )
    except CoveyError as error:
        raise CoveyError(f"failed to resolve digest for {image}: {error.message}") from error
    return f"{reference.name}:{reference.tag or 'latest'}@{found['Descriptor']['digest']}"


def images_only(content: MappingNode) -> MappingNode:
    """An override file that has the images of the services and nothing else."""
    services = content.get("services")
    assert isinstance(services, MappingNode)  # noqa: S101 - canonical
    images = {
        name: service.with_items({key: item for key, item in service.items.items() if key == "image"})
        for name, service in services.items.items()
        if isinstance(service, MappingNode)
    }
    return content.with_items({"services": services.with_items(images)})


def listed(application: Application, chosen: tuple[str, ...], wanted: Mapping[str, Any]) -> list[str] | None:
    """The lines of the list that was asked for; None for the whole file. ``chosen`` are the services that were named.

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
        names = sorted(selected_services(application, chosen, dependencies=True))
        return [labels.image_name(application.name, services[name], name) for name in names]
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
    return without_unused(content.with_items({**content.items, "services": chosen}))
