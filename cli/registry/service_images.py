"""Images of services: credentials for the nodes, and digests that make all nodes run the same image."""

import copy
from typing import Any

import click

from cli.client import DaemonClient, path_segment
from cli.registry.credentials import CredentialStore
from cli.registry.reference import parse_reference
from covey.errors import CoveyError, InvalidArgumentError

Spec = dict[str, Any]
ALWAYS, CHANGED, NEVER = "always", "changed", "never"
# Go's names of machine architectures, by those that registries use.
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


class ServiceImages:
    """Prepares the images of services that are created or updated.

    Args:
        daemon: the daemon that asks the registries.
        send_credentials: send the credentials of an image's registry, so that nodes can pull it.
        resolve: ask the registry for the digest of an image: always, if the image changed, or never.
    """

    def __init__(self, daemon: DaemonClient, *, send_credentials: bool, resolve: str = ALWAYS) -> None:
        self._daemon = daemon
        self._send_credentials = send_credentials
        self._resolve = resolve

    def headers(self, spec: Spec) -> dict[str, str]:
        """The headers of the request that creates or updates a service."""
        return self._auth(_image(spec)) if self._send_credentials else {}

    def prepared(self, spec: Spec, current: Spec | None = None) -> Spec:
        """The spec with the digest of its image, where a registry knows it.

        An image that cannot be resolved is left alone, or stays at the digest that the service has: ``current`` is its spec.
        """
        wanted = _image(spec)
        before = current if current and _image(current).partition("@")[0] == wanted else None
        if self._resolve == NEVER or not wanted or "@" in wanted:
            return spec
        if self._resolve == CHANGED and before:
            return _with_image(spec, _image(before), _platforms(before))
        try:
            found = self._daemon.call("GET", f"/distribution/{path_segment(wanted)}/json", headers=self._auth(wanted))
        except CoveyError:
            if before:
                return _with_image(spec, _image(before), _platforms(before))
            click.echo(_unresolved(wanted), err=True)
            return spec
        digest = (found.get("Descriptor") or {}).get("digest")
        if not digest:
            return spec
        platforms = [_platform(item) for item in found.get("Platforms") or []]
        return _with_image(spec, f"{wanted}@{digest}", platforms)

    def _auth(self, image: str) -> dict[str, str]:
        try:
            key = parse_reference(image).credentials_key
        except InvalidArgumentError:
            return {}  # the daemon says what is wrong with it
        return CredentialStore().header(key)


def _image(spec: Spec) -> str:
    return str((spec.get("TaskTemplate") or {}).get("ContainerSpec", {}).get("Image") or "")


def _with_image(spec: Spec, image: str, platforms: list[Any]) -> Spec:
    result = copy.deepcopy(spec)
    task = result["TaskTemplate"]
    task["ContainerSpec"]["Image"] = image
    if platforms and not (task.get("Placement") or {}).get("Platforms"):
        task["Placement"] = {
            **(task.get("Placement") or {}),
            "Platforms": platforms,
        }
    return result


def _platforms(spec: Spec) -> list[Any]:
    return (spec["TaskTemplate"].get("Placement") or {}).get("Platforms") or []


def _platform(item: dict[str, str]) -> dict[str, str]:
    architecture = item.get("architecture", "")
    return {"OS": item.get("os", ""), "Architecture": _ARCHITECTURES.get(architecture, architecture)}


def _unresolved(image: str) -> str:
    return (
        f"image {image} could not be accessed on a registry to record its digest. Each node will access {image} "
        "independently, possibly leading to different nodes running different versions of the image."
    )
