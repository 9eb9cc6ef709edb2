"""The labels and names by which Docker Compose and Covey find the objects of a project. Pure."""

from collections.abc import Mapping
from typing import Any

PREFIX = "com.docker.compose"
PROJECT = f"{PREFIX}.project"
SERVICE = f"{PREFIX}.service"
NUMBER = f"{PREFIX}.container-number"
CONFIG_HASH = f"{PREFIX}.config-hash"
ONE_OFF = f"{PREFIX}.oneoff"
SLUG = f"{PREFIX}.slug"
IMAGE = f"{PREFIX}.image"
REPLACE = f"{PREFIX}.replace"
WORKING_DIRECTORY = f"{PREFIX}.project.working_dir"
CONFIG_FILES = f"{PREFIX}.project.config_files"
ENVIRONMENT_FILE = f"{PREFIX}.project.environment_file"
DEPENDS_ON = f"{PREFIX}.depends_on"
VERSION = f"{PREFIX}.version"
NETWORK = f"{PREFIX}.network"
VOLUME = f"{PREFIX}.volume"
FORMAT_VERSION = "5.6.1"
"""The version of Docker Compose whose labels these are."""

Values = Mapping[str, Any]


def project_filter(project: str, *more: str) -> dict[str, list[str]]:
    """A filter of the API for the objects of a project."""
    return {"label": [f"{PROJECT}={project}", *more]}


def depends_on_label(dependencies: Mapping[str, Values]) -> str:
    """``SERVICE:CONDITION:RESTART`` of each dependency."""
    return ",".join(
        f"{name}:{item['condition']}:{str(bool(item.get('restart'))).lower()}"
        for name, item in sorted(dependencies.items())
    )


def parse_depends_on(label: str) -> dict[str, dict[str, Any]]:
    """The dependencies in a container's label."""
    result: dict[str, dict[str, Any]] = {}
    for entry in label.split(",") if label else ():
        name, _, rest = entry.partition(":")
        condition, _, restart = rest.partition(":")
        result[name] = {"condition": condition or "service_started", "restart": restart == "true", "required": True}
    return result


def container_name(project: str, service: Values, name: str, number: int) -> str:
    return str(service.get("container_name") or f"{project}-{name}-{number}")


def image_name(project: str, service: Values, name: str) -> str:
    """The image of a service: its own, or that of its build."""
    return str(service.get("image") or f"{project}-{name}")
