"""Parser of ``--mount`` of containers and services: ``type=bind,source=/a,target=/b,readonly``. Pure.

Invariant: an option of one mount type on another type is refused by name. Relative bind sources stay as they are; the caller that knows
the working directory resolves them.
"""

import csv
from typing import Any

from cli.parse.key_values import parse_bool
from covey.errors import InvalidArgumentError
from covey.quantities import parse_bytes

SpecPart = dict[str, Any]
_ALIASES = {
    **dict.fromkeys(("source", "src"), "source"),
    **dict.fromkeys(("target", "dst", "destination"), "target"),
    **dict.fromkeys(("readonly", "ro"), "readonly"),
}
_PLAIN = (
    *("type", "consistency", "bind-propagation", "bind-nonrecursive", "bind-recursive", "volume-driver"),
    *("volume-nocopy", "volume-subpath", "image-subpath", "tmpfs-size", "tmpfs-mode"),
)
_REPEATED = ("volume-label", "volume-opt")
_FIELDS = {**_ALIASES, **{name: name for name in (*_PLAIN, *_REPEATED)}}
_SWITCHES = ("readonly", "volume-nocopy", "bind-nonrecursive")
_FAMILIES = ("bind", "volume", "image", "tmpfs")


def parse_mount(text: str) -> SpecPart:
    """A mount of the API.

    Raises:
        InvalidArgumentError: an unknown field, a missing target, a wrong value, or an option of another mount type.
    """
    values, repeated = _fields(text)
    kind, target = values.get("type", "volume").lower(), values.get("target", "")
    if not target:
        raise InvalidArgumentError(f"--mount {text}: target is required")
    given = (*values, *(name for name, items in repeated.items() if items))
    for family in _FAMILIES:
        misplaced = [name for name in given if name.startswith(f"{family}-")]
        if misplaced and kind != family:
            raise InvalidArgumentError(
                f"--mount {text}: {misplaced[0]} is only valid with type={family}, not with type={kind}"
            )
    result: SpecPart = {"Type": kind, "Target": target}
    if values.get("source"):
        result["Source"] = values["source"]
    if parse_bool(values.get("readonly", "false"), "readonly"):
        result["ReadOnly"] = True
    if values.get("consistency"):
        result["Consistency"] = values["consistency"].lower()
    bind = _bind_options(text, values, read_only=bool(result.get("ReadOnly")))
    parts = {
        "BindOptions": bind,
        "VolumeOptions": _volume_options(values, repeated),
        "ImageOptions": {"Subpath": values["image-subpath"]} if values.get("image-subpath") else {},
        "TmpfsOptions": _tmpfs_options(text, values),
    }
    return {**result, **{key: part for key, part in parts.items() if part}}


def parse_service_mount(text: str) -> SpecPart:
    """A mount of a service. Other than for a container, a bind mount must have a source."""
    mount = parse_mount(text)
    if mount["Type"] == "bind" and "Source" not in mount:
        raise InvalidArgumentError(f"--mount {text}: a bind mount needs a source, a path on the host")
    return mount


def _fields(text: str) -> tuple[dict[str, str], dict[str, dict[str, str]]]:
    values: dict[str, str] = {}
    repeated: dict[str, dict[str, str]] = {name: {} for name in _REPEATED}
    for part in next(csv.reader([text]), []):
        key, separator, value = part.partition("=")
        name = _FIELDS.get(key.lower())
        if name is None:
            raise InvalidArgumentError(f"--mount {text}: unknown field {key!r}; use {', '.join(sorted(_FIELDS))}")
        if not separator and name not in _SWITCHES:
            raise InvalidArgumentError(f"--mount {text}: invalid field {key!r} must be a key=value pair")
        if name in _REPEATED:
            inner, _, rest = value.partition("=")
            repeated[name][inner] = rest
        else:
            values[name] = value if separator else "true"
    return values, repeated


def _bind_options(text: str, values: dict[str, str], *, read_only: bool) -> SpecPart:
    options: SpecPart = {}
    if "bind-propagation" in values:
        options["Propagation"] = values["bind-propagation"].lower()
    if parse_bool(values.get("bind-nonrecursive", "false"), "bind-nonrecursive"):
        options["NonRecursive"] = True
    mode = values.get("bind-recursive", "enabled")
    needs = []
    if mode == "disabled":
        options["NonRecursive"] = True
    elif mode == "writable":
        options["ReadOnlyNonRecursive"] = True
        needs = [] if read_only else ["readonly"]
    elif mode == "readonly":
        options["ReadOnlyForceRecursive"] = True
        needs = [] if read_only else ["readonly"]
        needs += [] if options.get("Propagation") == "rprivate" else ["bind-propagation=rprivate"]
    elif mode != "enabled":
        raise InvalidArgumentError(
            f"--mount {text}: bind-recursive must be enabled, disabled, writable or readonly, not {mode!r}"
        )
    if needs:
        raise InvalidArgumentError(f"--mount {text}: bind-recursive={mode} needs {' and '.join(needs)}")
    return options


def _volume_options(values: dict[str, str], repeated: dict[str, dict[str, str]]) -> SpecPart:
    options: SpecPart = {}
    if parse_bool(values.get("volume-nocopy", "false"), "volume-nocopy"):
        options["NoCopy"] = True
    if repeated["volume-label"]:
        options["Labels"] = repeated["volume-label"]
    if values.get("volume-subpath"):
        options["Subpath"] = values["volume-subpath"]
    driver = {"Name": values.get("volume-driver", ""), "Options": repeated["volume-opt"]}
    if any(driver.values()):
        options["DriverConfig"] = {key: value for key, value in driver.items() if value}
    return options


def _tmpfs_options(text: str, values: dict[str, str]) -> SpecPart:
    options: SpecPart = {}
    if "tmpfs-size" in values:
        options["SizeBytes"] = parse_bytes(values["tmpfs-size"])
    if "tmpfs-mode" in values:
        try:
            options["Mode"] = int(values["tmpfs-mode"], 8)
        except ValueError:
            raise InvalidArgumentError(
                f"--mount {text}: tmpfs-mode must be octal, such as 1777, not {values['tmpfs-mode']!r}"
            ) from None
    return options
