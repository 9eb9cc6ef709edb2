"""The network mode and the endpoints of a new container, from ``--network`` and the flags that complete it. Pure."""

import csv
import re
from collections.abc import Mapping, Sequence
from typing import Any

from covey.errors import InvalidArgumentError

_MAC = re.compile(
    r"[0-9A-Fa-f]{2}([:-][0-9A-Fa-f]{2}){5}([:-][0-9A-Fa-f]{2}){0,14}|[0-9A-Fa-f]{4}(\.[0-9A-Fa-f]{4}){2,}"
)
PREDEFINED = ("default", "bridge", "host", "none", "nat")
Attachment = dict[str, Any]
Flags = Mapping[str, Any]


def parse_attachment(text: str) -> Attachment:
    """A network attachment from ``NAME`` or ``name=,alias=,ip=,ip6=,mac-address=,link-local-ip=,driver-opt=,gw-priority=``.

    Raises:
        InvalidArgumentError: an unknown field.
    """
    if "=" not in text:
        return {"target": text}
    result: Attachment = {"target": ""}
    for field in next(csv.reader([text]), []):
        key, separator, value = (part.strip() for part in field.partition("="))
        if not separator:
            raise InvalidArgumentError(f"invalid field {field}")
        if key == "name":
            result["target"] = value
        elif key in ("alias", "link-local-ip"):
            result.setdefault(key, []).append(value)
        elif key in ("ip", "ip6", "mac-address"):
            result[key] = value
        elif key == "driver-opt":
            name, _, setting = value.partition("=")
            result.setdefault(key, {})[name.lower()] = setting.lower()
        elif key == "gw-priority":
            result[key] = _priority(value)
        else:
            raise InvalidArgumentError(f"invalid field key {key}")
    return result


def network_mode(attachments: Sequence[Attachment]) -> str:
    """The value of HostConfig.NetworkMode."""
    return str(attachments[0]["target"]) if attachments else "default"


def endpoints(flags: Flags) -> dict[str, Any]:
    """NetworkingConfig.EndpointsConfig.

    Raises:
        InvalidArgumentError: flags that contradict one another.
    """
    attachments = [dict(item) for item in flags.get("network") or ()] or [{"target": "default"}]
    names = [str(item["target"]) for item in attachments]
    if "" in names:
        raise InvalidArgumentError("no name set for network")
    if len(names) > 1 and any(not _user_defined(name) for name in names):
        raise InvalidArgumentError(
            "conflicting options: cannot attach both user-defined and non-user-defined network-modes"
        )
    for name in names:
        if names.count(name) > 1:
            raise InvalidArgumentError(f'network "{name}" is specified multiple times')
    attachments[0] = _complete(attachments[0], flags)
    found = {str(item["target"]): _endpoint(item) for item in attachments}
    if len(found) == 1 and not next(iter(found.values())):
        name = names[0]
        return {} if not _user_defined(name) else found
    return found


def _user_defined(name: str) -> bool:
    return name not in PREDEFINED and not name.startswith("container:")


def _complete(attachment: Attachment, flags: Flags) -> Attachment:
    """The first attachment with the flags ``--ip``, ``--network-alias`` and others."""
    result = dict(attachment)
    user_defined = _user_defined(str(attachment["target"]))
    for key, flag in (
        ("alias", "network-alias"),
        ("ip", "ip"),
        ("ip6", "ip6"),
        ("mac-address", "mac-address"),
        ("link-local-ip", "link-local-ip"),
    ):
        value = flags.get(flag.replace("-", "_"))
        if not value:
            continue
        if key in result:
            raise InvalidArgumentError(f"conflicting options: cannot specify both --{flag} and per-network {key}")
        if key == "alias" and not user_defined:
            raise InvalidArgumentError("network-scoped aliases are only supported for user-defined networks")
        result[key] = list(value) if isinstance(value, tuple) else value
    if flags.get("link") and user_defined:
        result["link"] = list(flags["link"])
    return result


def _endpoint(item: Attachment) -> dict[str, Any]:
    if item.get("mac-address") and not _MAC.fullmatch(item["mac-address"]):
        raise InvalidArgumentError(f"{item['mac-address']} is not a valid mac address")
    address = {
        "IPv4Address": item.get("ip"),
        "IPv6Address": item.get("ip6"),
        "LinkLocalIPs": item.get("link-local-ip"),
    }
    result = {
        "IPAMConfig": {key: value for key, value in address.items() if value},
        "Links": item.get("link"),
        "Aliases": item.get("alias"),
        "MacAddress": item.get("mac-address"),
        "DriverOpts": item.get("driver-opt"),
        "GwPriority": item.get("gw-priority"),
    }
    return {key: value for key, value in result.items() if value}


def _priority(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise InvalidArgumentError(f"invalid gw-priority: {text}") from None
