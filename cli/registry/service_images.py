"""Images of services: credentials for the nodes, and digests that make all nodes run the same image."""

import copy
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import click

from cli.client import DaemonClient, path_segment
from cli.registry.credentials import CredentialStore
from cli.registry.reference import parse_reference
from covey.errors import CoveyError, InvalidArgumentError

Spec = dict[str, Any]
Item = Mapping[str, Any]
MAX_PARALLEL = 8
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
        return self.all_prepared([(spec, current)])[0]

    def all_prepared(self, specs: Sequence[tuple[Spec, Spec | None]]) -> list[Spec]:
        """The specs of several services, each with its current one, in their order. Every image is asked for once."""
        needed = list(dict.fromkeys(_image(spec) for spec, current in specs if self._asks(spec, current)))
        found = dict(zip(needed, self._remote_images(needed), strict=True))
        return [self._with_digest(spec, current, found) for spec, current in specs]

    def _asks(self, spec: Spec, current: Spec | None) -> bool:
        """Whether the registry has to be asked."""
        wanted = _image(spec)
        if self._resolve == NEVER or not wanted or "@" in wanted:
            return False
        return self._resolve != CHANGED or _same_image(current, wanted) is None

    def _remote_images(self, images: Sequence[str]) -> Iterable[Item | None]:
        """What the registries say of images, several asked at a time; None for one that does not answer."""
        if len(images) < 2:
            return [self._remote_image(image) for image in images]
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(min(len(images), MAX_PARALLEL)) as pool:
            return list(pool.map(self._remote_image, images))

    def _remote_image(self, image: str) -> Item | None:
        try:
            found: Item = self._daemon.call(
                "GET", f"/distribution/{path_segment(image)}/json", headers=self._auth(image)
            )
        except CoveyError:
            return None
        return found

    def _with_digest(self, spec: Spec, current: Spec | None, found: Mapping[str, Item | None]) -> Spec:
        wanted = _image(spec)
        before = _same_image(current, wanted)
        asked = self._asks(spec, current)
        if not asked and not (before and self._resolve == CHANGED):
            return spec
        remote = found[wanted] if asked else None
        if remote is None:
            if before:
                return _with_image(spec, _image(before), _platforms(before))
            click.echo(_unresolved(wanted), err=True)
            return spec
        digest = (remote.get("Descriptor") or {}).get("digest")
        if not digest:
            return spec
        platforms = [_platform(item) for item in remote.get("Platforms") or []]
        return _with_image(spec, f"{wanted}@{digest}", platforms)

    def _auth(self, image: str) -> dict[str, str]:
        try:
            key = parse_reference(image).credentials_key
        except InvalidArgumentError:
            return {}  # the daemon says what is wrong with it
        return CredentialStore().header(key)


def _image(spec: Spec) -> str:
    return str((spec.get("TaskTemplate") or {}).get("ContainerSpec", {}).get("Image") or "")


def _same_image(current: Spec | None, wanted: str) -> Spec | None:
    """The current spec, if it has the wanted image at any digest."""
    return current if current and _image(current).partition("@")[0] == wanted else None


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
