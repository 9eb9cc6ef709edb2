"""Parsers of the values of ``run`` and ``create`` flags: devices, rates, GPUs, hosts, limits, labels. Pure."""

import csv
import ipaddress
import re
from collections.abc import Callable
from typing import Any

from covey.errors import InvalidArgumentError
from covey.quantities import parse_bytes

Part = dict[str, Any]
_DEVICE_RULE = re.compile(r"[acb] ([0-9]+|\*):([0-9]+|\*) [rwm]{1,3}")
_DOMAIN = re.compile(r"\.|([A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?)(\.[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?)*\.?")
_CDI_DEVICE = re.compile(r"[A-Za-z0-9.-]+/[A-Za-z0-9._-]+=\S+")
ULIMITS = (
    *("core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice", "nofile", "nproc", "rss", "rtprio"),
    *("rttime", "sigpending", "stack"),
)
STREAMS = ("stdin", "stdout", "stderr")
ALL_GPUS = -1
WEIGHTS = range(10, 1001)


def stream(text: str) -> str:
    """A stream to attach to, in lower case."""
    if text.lower() not in STREAMS:
        raise InvalidArgumentError("valid streams are STDIN, STDOUT and STDERR")
    return text.lower()


def swap(text: str) -> int:
    """Bytes of memory and swap; -1 is unlimited."""
    return -1 if text == "-1" else parse_bytes(text)


def host(text: str) -> str:
    """``NAME:IP`` of the API from ``NAME:IP`` or ``NAME=IP``; the IP may be ``host-gateway``."""
    name, separator, address = text.partition("=" if "=" in text else ":")
    address = address.removeprefix("[").removesuffix("]")
    if not separator or not name:
        raise InvalidArgumentError(f"bad format for add-host: {text!r}")
    if address != "host-gateway":
        _address(address, f"invalid IP address in add-host: {address!r}")
    return f"{name}:{address}"


def dns_server(text: str) -> str:
    _address(text.strip(), f"IP address is not correctly formatted: {text}")
    return text.strip()


def _address(text: str, message: str) -> None:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        raise InvalidArgumentError(message) from None


def dns_domain(text: str) -> str:
    if not _DOMAIN.fullmatch(text.strip()):
        raise InvalidArgumentError(f"{text} is not a valid domain")
    return text.strip()


def key_value(what: str) -> Callable[[str], tuple[str, str]]:
    """A parser of ``KEY=VALUE`` and ``KEY``."""

    def parse(text: str) -> tuple[str, str]:
        key, _, value = text.partition("=")
        if not key:
            raise InvalidArgumentError(f"invalid {what} '{text}': empty name")
        return key, value

    return parse


def environment_variable(text: str) -> str:
    if text.startswith("=") or not text:
        raise InvalidArgumentError(f"invalid environment variable: {text}")
    return text


def sysctl(text: str) -> tuple[str, str]:
    """A kernel parameter. Whether the kernel has it for a container is the daemon's to say."""
    key, separator, value = text.partition("=")
    if not separator or not key:
        raise InvalidArgumentError(f"sysctl '{text}' is not allowed: write NAME=VALUE")
    return key, value


def storage_option(text: str) -> tuple[str, str]:
    key, separator, value = text.partition("=")
    if not separator or not key:
        raise InvalidArgumentError(f"invalid storage option {text!r}: write KEY=VALUE")
    return key, value


def ulimit(text: str) -> Part:
    """A ulimit from ``NAME=SOFT[:HARD]``; -1 is unlimited."""
    name, separator, limits = text.partition("=")
    if not separator:
        raise InvalidArgumentError(f"invalid ulimit argument: {text}")
    if name not in ULIMITS:
        raise InvalidArgumentError(f"invalid ulimit type: {name}")
    first, _, second = limits.partition(":")
    try:
        soft, hard = int(first), int(second or first)
    except ValueError:
        raise InvalidArgumentError(f"invalid ulimit argument: {text}: write NAME=SOFT[:HARD]") from None
    if hard != -1 and (soft == -1 or soft > hard):
        raise InvalidArgumentError(f"ulimit soft limit must be less than or equal to hard limit: {soft} > {hard}")
    return {"Name": name, "Hard": hard, "Soft": soft}


def device(text: str) -> Part:
    """A device from ``HOST[:CONTAINER][:rwm]``."""
    source, *rest = text.split(":")
    target, mode = source, "rwm"
    if len(rest) > 2:
        raise InvalidArgumentError(f"bad format for path: {text}")
    if len(rest) == 2:
        target, mode = rest
    elif rest and _is_device_mode(rest[0]):
        (mode,) = rest
    elif rest:
        (target,) = rest
    if not source.startswith("/"):
        raise InvalidArgumentError(f"{text} is not an absolute path")
    if not _is_device_mode(mode):
        raise InvalidArgumentError(f"bad mode specified: {mode}")
    return {"PathOnHost": source, "PathInContainer": target or source, "CgroupPermissions": mode}


def is_cdi_device(text: str) -> bool:
    """Whether ``--device`` names a CDI device: ``vendor/class=name``."""
    return not text.startswith("/") and bool(_CDI_DEVICE.fullmatch(text))


def _is_device_mode(text: str) -> bool:
    return bool(text) and set(text) <= set("rwm") and len(set(text)) == len(text)


def device_cgroup_rule(text: str) -> str:
    if not _DEVICE_RULE.fullmatch(text):
        raise InvalidArgumentError(f"invalid device cgroup format '{text}'")
    return text


def device_weight(text: str) -> Part:
    path, number = _device_number(text)
    if not number.isdigit() or (int(number) != 0 and int(number) not in WEIGHTS):
        raise InvalidArgumentError(f"invalid weight for device: {text}")
    return {"Path": path, "Weight": int(number)}


def device_bytes(text: str) -> Part:
    path, number = _device_number(text)
    try:
        return {"Path": path, "Rate": parse_bytes(number)}
    except InvalidArgumentError:
        raise InvalidArgumentError(
            f"invalid rate for device: {text}; write DEVICE:NUMBER[UNIT], with kb, mb or gb as unit"
        ) from None


def device_operations(text: str) -> Part:
    path, number = _device_number(text)
    if not number.isdigit():
        raise InvalidArgumentError(f"invalid rate for device: {text}; write DEVICE:NUMBER")
    return {"Path": path, "Rate": int(number)}


def _device_number(text: str) -> tuple[str, str]:
    path, separator, number = text.partition(":")
    if not separator or not path:
        raise InvalidArgumentError(f"bad format: {text}")
    if not path.startswith("/dev/"):
        raise InvalidArgumentError(f"bad format for device path: {text}")
    return path, number


def gpus(text: str) -> Part:
    """A request of GPUs from ``all``, ``2`` or ``device=0,capabilities=utility``."""
    request: Part = {}
    capabilities: list[str] = []
    fields = next(csv.reader([text]), [])
    for field in fields:
        key, separator, value = field.partition("=")
        if not separator:
            key, value = "count", key
        if key == "count":
            request["Count"] = _gpu_count(value)
        elif key == "device":
            request["DeviceIDs"] = value.split(",")
        elif key == "driver":
            request["Driver"] = value
        elif key == "capabilities":
            capabilities = value.split(",")
        elif key == "options":
            request["Options"] = dict(item.partition("=")[::2] for item in value.split(","))
        else:
            raise InvalidArgumentError(f"unexpected key {key!r} in {field!r}")
    if "Count" not in request and "DeviceIDs" not in request:
        request["Count"] = 1
    return {**request, "Capabilities": [[*capabilities, *([] if "gpu" in capabilities else ["gpu"])]]}


def _gpu_count(text: str) -> int:
    if text == "all":
        return ALL_GPUS
    try:
        return int(text)
    except ValueError:
        raise InvalidArgumentError(f'invalid count ({text}): value must be either "all" or an integer') from None


def restart_policy(text: str) -> Part:
    """A restart policy from ``NAME[:MAXIMUM]``."""
    name, separator, number = text.partition(":")
    if separator and not re.fullmatch(r"[+-]?[0-9]+", number):
        raise InvalidArgumentError("invalid restart policy format: maximum retry count must be an integer")
    return {"Name": name or "no", "MaximumRetryCount": int(number) if separator else 0}
