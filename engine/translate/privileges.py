"""Docker's Privileges of a service's container: SELinux context, seccomp and AppArmor, kept as a container's security options. Pure."""

import base64
import binascii
from collections.abc import Mapping
from typing import Any

from covey.errors import InvalidArgumentError, UnsupportedError
from covey.objects import ContainerSpec
from engine.translate.json_fields import JsonFields

_SELINUX = ("User", "Role", "Type", "Level")
_SECCOMP = {"default": "builtin", "unconfined": "unconfined"}
_APPARMOR = {"default": "docker-default", "disabled": "unconfined"}


def read(fields: JsonFields) -> Mapping[str, Any]:
    """Reads ``Privileges``."""
    found = fields.read("Privileges", _read)
    return found or {}


def write(spec: ContainerSpec) -> Mapping[str, Any]:
    """Writes ``Privileges``; nothing where none were given."""
    options = spec.security_options
    if not options and not spec.no_new_privileges:
        return {}
    written: dict[str, Any] = {"CredentialSpec": None, "SELinuxContext": _write_selinux(options)}
    for kind, value in (option.split("=", 1) for option in options):
        if kind == "seccomp":
            written["Seccomp"] = _write_seccomp(value)
        elif kind == "apparmor":
            written["AppArmor"] = {"Mode": next(mode for mode, profile in _APPARMOR.items() if profile == value)}
    if spec.no_new_privileges:
        written["NoNewPrivileges"] = True
    return {"Privileges": written}


def refuse_credential_spec(fields: JsonFields, key: str) -> None:
    """Raises UnsupportedError if the field is given."""
    if fields.has(key):
        raise UnsupportedError(
            f"{fields.path_of(key)}: credential specs are for Windows containers, and nodes run Linux containers; remove it"
        )


def _read(privileges: JsonFields) -> Mapping[str, Any]:
    refuse_credential_spec(privileges, "CredentialSpec")
    options = (
        *(privileges.read("SELinuxContext", _read_selinux) or ()),
        *(privileges.read("Seccomp", _read_seccomp) or ()),
        *(privileges.read("AppArmor", _read_apparmor) or ()),
    )
    return {"no_new_privileges": privileges.flag("NoNewPrivileges"), "security_options": options}


def _read_selinux(context: JsonFields) -> tuple[str, ...]:
    disable = ("label=disable",) if context.flag("Disable") else ()
    given = [(name.lower(), context.text(name)) for name in _SELINUX]
    return (*disable, *(f"label={name}:{value}" for name, value in given if value))


def _write_selinux(options: tuple[str, ...]) -> dict[str, Any] | None:
    labels = [option.removeprefix("label=") for option in options if option.startswith("label=")]
    if not labels:
        return None
    values = dict(label.split(":", 1) for label in labels if ":" in label)
    return {"Disable": "disable" in labels, **{name: values.get(name.lower(), "") for name in _SELINUX}}


def _read_seccomp(seccomp: JsonFields) -> tuple[str, ...]:
    mode, profile = seccomp.text("Mode"), seccomp.text("Profile")
    if mode == "custom":
        try:
            return (f"seccomp={base64.b64decode(profile, validate=True).decode()}",)
        except (binascii.Error, ValueError):
            raise InvalidArgumentError(f"{seccomp.path}.Profile must be base64 of a seccomp profile in JSON") from None
    if profile:
        raise InvalidArgumentError(f"{seccomp.path}.Profile needs the Mode custom")
    return _one_of(seccomp, mode, "seccomp", _SECCOMP, "default, unconfined or custom")


def _write_seccomp(value: str) -> dict[str, Any]:
    for mode, profile in _SECCOMP.items():
        if value == profile:
            return {"Mode": mode}
    return {"Mode": "custom", "Profile": base64.b64encode(value.encode()).decode()}


def _read_apparmor(apparmor: JsonFields) -> tuple[str, ...]:
    return _one_of(apparmor, apparmor.text("Mode"), "apparmor", _APPARMOR, "default or disabled")


def _one_of(fields: JsonFields, mode: str, kind: str, names: Mapping[str, str], choices: str) -> tuple[str, ...]:
    if not mode:
        return ()
    if mode not in names:
        raise InvalidArgumentError(f'invalid {fields.path}.Mode: "{mode}"; use {choices}')
    return (f"{kind}={names[mode]}",)
