"""The labels `covey.privileged` and `covey.devices`: a service whose containers get more of the host than others. Pure.

    covey.privileged=true
    covey.devices=/dev/ttyUSB0;/dev/snd:/dev/snd:rw

The cluster's administrators say which services may have them: see ``covey.privilege_policy``.
"""

from collections.abc import Mapping

from covey.errors import InvalidArgumentError
from covey.objects import ContainerDevice

PRIVILEGED_LABEL = "covey.privileged"
DEVICES_LABEL = "covey.devices"
MAX_DEVICES = 64
_FORM = "PATH[:PATH_IN_CONTAINER][:PERMISSIONS], separated by ;"


def parse_privileged(text: str) -> bool:
    """Raises InvalidArgumentError for anything but true and false."""
    if text not in {"true", "false"}:
        raise InvalidArgumentError(f"label {PRIVILEGED_LABEL}: {text!r} is neither true nor false")
    return text == "true"


def parse_devices(text: str) -> tuple[ContainerDevice, ...]:
    """The devices of a label, in its order.

    Raises:
        InvalidArgumentError: the label is malformed, names a path in the container twice or more than 64 devices.
    """
    parts = [part.strip() for part in text.split(";") if part.strip()]
    if len(parts) > MAX_DEVICES:
        raise _invalid(f"{len(parts)} devices are named, the limit is {MAX_DEVICES}")
    devices = tuple(_parse_device(part) for part in parts)
    seen: set[str] = set()
    for device in devices:
        if device.container_path in seen:
            raise _invalid(f"{device.container_path} is named twice")
        seen.add(device.container_path)
    return devices


def privileges(labels: Mapping[str, str]) -> tuple[bool, tuple[ContainerDevice, ...]]:
    """Whether the labels ask for a privileged container, and for which devices."""
    text = labels.get(PRIVILEGED_LABEL, "")
    return parse_privileged(text) if text else False, parse_devices(labels.get(DEVICES_LABEL, ""))


def _parse_device(text: str) -> ContainerDevice:
    host_path, *rest = text.split(":")
    permissions = rest.pop() if rest and not rest[-1].startswith("/") else "rwm"
    container_path = rest[0] if rest else host_path
    for path in (host_path, container_path):
        if not path.startswith("/dev/") or ".." in path.split("/"):
            raise _invalid(f"{path!r} is not a path below /dev")
    if len(rest) > 1:
        raise _invalid(f"{text!r} has too many parts")
    if not permissions or set(permissions) - set("rwm") or len(set(permissions)) != len(permissions):
        raise _invalid(f"{permissions!r} of {host_path} is not made of r, w and m")
    return ContainerDevice(host_path=host_path, container_path=container_path, permissions=permissions)


def _invalid(reason: str) -> InvalidArgumentError:
    return InvalidArgumentError(f"label {DEVICES_LABEL}: {reason}; write {_FORM}")
