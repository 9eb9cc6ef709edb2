"""Loads stack files: parse, refuse, interpolate, validate, convert and merge, in the docker client's order. Pure."""

from collections.abc import Mapping, Sequence

import msgspec

from compose.errors import ComposeFileError, Location
from compose.interpolation import InterpolationRules, interpolate
from compose.nodes import MappingNode, Node, ScalarNode, plain
from compose.schema import validate
from compose.stack import format as stack_format
from compose.stack.canonical import CanonicalStack
from compose.stack.merge import merge_stacks
from compose.variables import substitute_stack

_BOOLEANS = (
    ("services", "*", "healthcheck", "disable"),
    ("services", "*", "privileged"),
    ("services", "*", "read_only"),
    ("services", "*", "stdin_open"),
    ("services", "*", "tty"),
    ("services", "*", "volumes", "*", "read_only"),
    ("services", "*", "volumes", "*", "volume", "nocopy"),
    ("networks", "*", "external"),
    ("networks", "*", "internal"),
    ("networks", "*", "attachable"),
    ("volumes", "*", "external"),
    ("secrets", "*", "external"),
    ("configs", "*", "external"),
)
_INTEGERS = (
    ("services", "*", "configs", "*", "mode"),
    ("services", "*", "secrets", "*", "mode"),
    ("services", "*", "healthcheck", "retries"),
    ("services", "*", "deploy", "replicas"),
    ("services", "*", "deploy", "update_config", "parallelism"),
    ("services", "*", "deploy", "rollback_config", "parallelism"),
    ("services", "*", "deploy", "restart_policy", "max_attempts"),
    ("services", "*", "deploy", "placement", "max_replicas_per_node"),
    ("services", "*", "ports", "*", "target"),
    ("services", "*", "ports", "*", "published"),
    ("services", "*", "ulimits", "*"),
    ("services", "*", "ulimits", "*", "hard"),
    ("services", "*", "ulimits", "*", "soft"),
)
_FLOATS = (
    ("services", "*", "deploy", "update_config", "max_failure_ratio"),
    ("services", "*", "deploy", "rollback_config", "max_failure_ratio"),
)
RULES = InterpolationRules(
    substitute_stack,
    {**dict.fromkeys(_BOOLEANS, "boolean"), **dict.fromkeys(_INTEGERS, "integer"), **dict.fromkeys(_FLOATS, "float")},
)
DEFAULT_VERSION = "3.13"


class LoadedStack(msgspec.Struct, frozen=True):
    """Merged stack files in canonical form, and the version of the format that they name.

    Attributes:
        unread: the places of further YAML documents, which docker stack does not read.
    """

    content: MappingNode
    version: str
    unread: tuple[Location, ...] = ()


def load_stack(
    files: Sequence[MappingNode], variables: Mapping[str, str], canonical: CanonicalStack, *, interpolated: bool = True
) -> LoadedStack:
    """The stack of several files; later ones override.

    Args:
        files: the parsed files.
        variables: the client's environment.
        canonical: the converter, which knows the paths.
        interpolated: substitute variables.

    Raises:
        ComposeFileError: a file is not a stack file, with path and place.
    """
    stacks = []
    versions = [stack_version(file) for file in files]
    for file, version in zip(files, versions, strict=True):
        if version != versions[0]:
            reason = f"version mismatched between two composefiles : {versions[0]} and {version}"
            raise ComposeFileError(reason, location=(file.get("version") or file).location)
        _refuse_forbidden(file)
        content = interpolate(file, variables, RULES) if interpolated else file
        validate(content, stack_format.STACK, int(version.partition(".")[2]))
        stacks.append(canonical.convert(content))
    return LoadedStack(merge_stacks(stacks), versions[0])


def stack_version(file: MappingNode) -> str:
    """The version of the format; the latest if the file names none or only the major number.

    Raises:
        ComposeFileError: not a text, or not of version 3.
    """
    node = file.get("version")
    if node is None:
        return DEFAULT_VERSION
    if not isinstance(node, ScalarNode) or not isinstance(node.value, str):
        raise ComposeFileError("version must be a string", location=node.location)
    version = node.value
    if version in ("", "3"):
        return DEFAULT_VERSION
    minor = version.removeprefix("3.")
    if minor == version or not minor.isdecimal() or int(minor) > stack_format.LATEST or str(int(minor)) != minor:
        raise ComposeFileError(f"unsupported Compose file version: {version}", location=node.location)
    return version


def _refuse_forbidden(file: MappingNode) -> None:
    """Refuse keys of older formats; all of them at once."""
    services = file.get("services")
    found: dict[str, Node] = {}
    for service in services.items.values() if isinstance(services, MappingNode) else ():
        if isinstance(service, MappingNode):
            found |= {key: service.items[key] for key in service.items if key in stack_format.FORBIDDEN}
    if found:
        listed = "; ".join(f"{key}: {stack_format.FORBIDDEN[key]}" for key in sorted(found))
        raise ComposeFileError(f"unsupported options: {listed}", location=next(iter(found.values())).location)


def is_empty(stack: LoadedStack) -> bool:
    """Whether the files describe no service."""
    services = stack.content.get("services")
    return services is None or not plain(services)
