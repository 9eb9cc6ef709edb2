"""Short forms of ports and volumes in the Compose Specification. Pure."""

from typing import Any

from compose.stack.ports import PROTOCOLS, parse_ports
from compose.stack.volumes import PROPAGATION, is_path, split_volume


def parse_project_ports(text: str) -> list[dict[str, Any]]:
    """The long forms of ``[[ADDRESS:]PUBLISHED:]TARGET[/PROTOCOL]``; a published range with one target stays a range.

    Raises:
        ValueError: not of that form.
    """
    rest, _, protocol = text.partition("/")
    head, _, target = rest.rpartition(":")
    published = head.rpartition(":")[2]
    if "-" in published and "-" not in target and (not protocol or protocol in PROTOCOLS):
        first, *_ = parse_ports(text)
        return [_port(first.target, published, first.protocol, first.address)]
    return [
        _port(port.target, str(port.published) if port.published else "", port.protocol, port.address)
        for port in parse_ports(text)
    ]


def _port(target: int, published: str, protocol: str, address: str) -> dict[str, Any]:
    port = {"mode": "ingress", "host_ip": address, "target": target, "published": published, "protocol": protocol}
    return {key: value for key, value in port.items() if value != ""}


def parse_project_volume(text: str) -> dict[str, Any]:
    """The long form of ``[SOURCE:]TARGET[:OPTIONS]``.

    Raises:
        ValueError: empty, an empty part, or too many parts.
    """
    parts = split_volume(text)
    if len(parts) == 1:
        found = {"type": "volume", "target": parts[0]}
        return found if len(text) <= len("/a") else {**found, "volume": {}}  # Compose does not parse such short texts
    source, target, *options = parts
    bound = is_path(source)
    volume: dict[str, Any] = {"type": "bind" if bound else "volume", "source": source, "target": target}
    bind: dict[str, Any] = {}
    own: dict[str, Any] = {}
    for option in options[0].split(",") if options else ():
        if option == "ro":
            volume["read_only"] = True
        elif option == "nocopy":
            own["nocopy"] = True
        elif option in PROPAGATION:
            bind["propagation"] = option
        elif option in ("z", "Z"):
            bind["selinux"] = option
    return volume | ({"bind": bind} if bound or bind else {}) | ({} if bound else {"volume": own})
