"""Security options of a new container: `SecurityOpt`, capabilities, privileged mode, masked and read-only paths."""

from typing import Any

from covey.errors import InvalidArgumentError
from engine.translate.json_fields import JsonFields

_TRUE, _FALSE = (
    frozenset({"1", "t", "T", "TRUE", "true", "True"}),
    frozenset({"0", "f", "F", "FALSE", "false", "False"}),
)
_FLAGS = {"no-new-privileges": "no_new_privileges", "writable-cgroups": "writable_cgroups"}
BUILTIN = "builtin"
UNLABELLED = ("label=disable",)
"""What Docker shows for containers that share so much with the host that labels could not confine them."""


def read_security(fields: JsonFields) -> dict[str, Any]:
    """The fields of the container's configuration."""
    options, privileged = fields.text_list("SecurityOpt"), fields.flag("Privileged")
    return {
        **_options(options),
        "security_options": options or (UNLABELLED if privileged else ()),
        "privileged": privileged,
        "cap_add": fields.text_list("CapAdd"),
        "cap_drop": fields.text_list("CapDrop"),
        "read_only": fields.flag("ReadonlyRootfs"),
        "masked_paths": _paths(fields, "MaskedPaths"),
        "read_only_paths": _paths(fields, "ReadonlyPaths"),
        "sysctls": fields.text_map("Sysctls"),
        "groups": fields.text_list("GroupAdd"),
    }


def _options(options: tuple[str, ...]) -> dict[str, Any]:
    """The settings that `SecurityOpt` makes; a later option wins."""
    values: dict[str, Any] = {
        "no_new_privileges": False,
        "writable_cgroups": False,
        "seccomp": "",
        "apparmor_profile": "",
    }
    for option in options:
        if option == "no-new-privileges":
            values["no_new_privileges"] = True
            continue
        separator = "=" if "=" in option else ":"
        name, found, value = option.partition(separator)
        if not found:
            raise InvalidArgumentError(f'invalid --security-opt 1: "{option}"')
        if name in _FLAGS and value in _TRUE | _FALSE:
            values[_FLAGS[name]] = value in _TRUE
        elif name == "seccomp":
            values["seccomp"] = "" if value == BUILTIN else value
        elif name == "apparmor":
            values["apparmor_profile"] = value
        elif name != "label":  # the host judges SELinux labels
            raise InvalidArgumentError(f'invalid --security-opt 2: "{option}"')
    return values


def _paths(fields: JsonFields, name: str) -> tuple[str, ...] | None:
    """None where absent, which stands for Docker's defaults; an empty list means no path at all."""
    return fields.text_list(name) if fields.has(name) else None
