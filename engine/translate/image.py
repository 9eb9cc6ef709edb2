"""Images of this host as Docker's JSON: list, inspection, history."""

from typing import Any

from agent.image.model import HistoryEntry, Image, ImageConfig, ImageHealthcheck
from covey.clock import SECOND
from covey.errors import InvalidArgumentError
from engine.routing import API_VERSION
from engine.translate.json_fields import omit_empty
from engine.translate.times import ZERO, parse_rfc3339

_WITHOUT_VIRTUAL_SIZE = (1, 44)
_WITHOUT_CONTAINER = (1, 45)
_CONFIG_OF_IMAGE_ONLY = (1, 50)
"""The API versions that dropped fields. ``ContainerConfig`` is shown to all: docker-compose 1.29 reads it at any version, to make a
container anew.
"""

_CONTAINER_FIELDS: dict[str, Any] = {
    "Hostname": "",
    "Domainname": "",
    "AttachStdin": False,
    "AttachStdout": False,
    "AttachStderr": False,
    "Tty": False,
    "OpenStdin": False,
    "StdinOnce": False,
    "Image": "",
}
_NO_CONFIG: dict[str, Any] = {
    **_CONTAINER_FIELDS,
    "User": "",
    "Env": None,
    "Cmd": None,
    "Volumes": None,
    "WorkingDir": "",
    "Entrypoint": None,
    "OnBuild": None,
    "Labels": None,
}
"""The images of this store were made without a container."""


def created_seconds(text: str) -> int:
    """The creation time of an image in seconds since the epoch; 0 if it is absent or invalid."""
    try:
        return parse_rfc3339(text) // SECOND
    except InvalidArgumentError:
        return 0


def summary(image: Image, containers: int = -1, shared_size: int = -1) -> dict[str, Any]:
    """An image as ``docker images`` shows it. -1 stands for a number that was not asked for."""
    return {
        "Id": image.id,
        "ParentId": image.parent,
        "RepoTags": list(image.repo_tags),
        "RepoDigests": list(image.repo_digests),
        "Created": created_seconds(image.created),
        "Size": image.size,
        "SharedSize": shared_size,
        "Labels": dict(image.config.labels),
        "Containers": containers,
    }


def inspect(image: Image, version: tuple[int, int] = API_VERSION) -> dict[str, Any]:
    """An image as ``docker inspect`` shows it to a client of this API version."""
    shown = config(image.config)
    if version < _CONFIG_OF_IMAGE_ONLY:
        shown = {**_CONTAINER_FIELDS, "Volumes": None, **shown}
    return {
        "Id": image.id,
        "RepoTags": list(image.repo_tags),
        "RepoDigests": list(image.repo_digests),
        "Parent": image.parent,
        "Comment": image.comment,
        "Created": image.created or ZERO,
        "DockerVersion": "",
        "Author": image.author,
        "Config": shown,
        "Architecture": image.architecture,
        **omit_empty(Variant=image.variant),
        "Os": image.os,
        "Size": image.size,
        **({"VirtualSize": image.size} if version < _WITHOUT_VIRTUAL_SIZE else {}),
        **({"Container": ""} if version < _WITHOUT_CONTAINER else {}),
        "ContainerConfig": _NO_CONFIG,
        "GraphDriver": {"Name": "overlay2", "Data": None},
        "RootFS": {"Type": "layers", "Layers": list(image.diff_ids)},
        "Metadata": {"LastTagTime": image.last_tagged or ZERO},
    }


def config(item: ImageConfig) -> dict[str, Any]:
    return {
        "User": item.user,
        **omit_empty(ExposedPorts={port: {} for port in item.exposed_ports} or None),
        "Env": list(item.env),
        "Cmd": None if item.cmd is None else list(item.cmd),
        **omit_empty(Volumes={path: {} for path in item.volumes} or None),
        "WorkingDir": item.working_dir,
        "Entrypoint": None if item.entrypoint is None else list(item.entrypoint),
        "OnBuild": list(item.on_build) or None,
        "Labels": dict(item.labels) or None,
        **omit_empty(
            StopSignal=item.stop_signal,
            Shell=list(item.shell),
            Healthcheck=None if item.healthcheck is None else _health(item.healthcheck),
        ),
    }


def history(image: Image, steps: tuple[HistoryEntry, ...]) -> list[dict[str, Any]]:
    """An image's history as ``docker history`` shows it: newest step first. Only the newest has an id."""
    sizes = iter(image.layer_sizes)
    result: list[dict[str, Any]] = [
        {
            "Id": "<missing>",
            "Created": created_seconds(step.created or ""),
            "CreatedBy": step.created_by,
            "Tags": None,
            "Size": 0 if step.empty_layer else next(sizes, 0),
            "Comment": step.comment,
        }
        for step in steps
    ]
    if result:
        result[-1] |= {"Id": image.id, "Tags": list(image.repo_tags) or None}
    return result[::-1]


def _health(item: ImageHealthcheck) -> dict[str, Any]:
    return omit_empty(
        Test=list(item.test),
        Interval=item.interval,
        Timeout=item.timeout,
        StartPeriod=item.start_period,
        StartInterval=item.start_interval,
        Retries=item.retries,
    )
