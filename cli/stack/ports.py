"""Published ports of a stack file's service: short and long form. Pure."""

from typing import Any

from cli.parse.service_ports import expand_ports, parse_port
from cli.stack.section import Section
from covey.errors import InvalidArgumentError

HINTS = {"host_ip": "a service is published on all addresses of its nodes; remove it"}


def published_ports(service: Section) -> list[dict[str, Any]]:
    """The ports in the order of their published numbers, as `docker stack` sends them; drawn ones come first, as they are listed.

    Raises:
        InvalidArgumentError: a value is wrong; the message has its path. UnsupportedError: so is a key.
    """
    found: list[dict[str, Any]] = []
    listed = service.raw("ports") or []
    if not isinstance(listed, list):
        raise InvalidArgumentError(f"{service.key_path('ports')} must be a list")
    for number, value in enumerate(listed):
        path = f"{service.key_path('ports')}[{number}]"
        try:
            texts = [_long_form(Section(value, path))] if isinstance(value, dict) else expand_ports(str(value))
            found += [parse_port(text) for text in texts]
        except InvalidArgumentError as error:
            raise InvalidArgumentError(f"{path}: {error.message.removeprefix('--publish ')}") from None
    return sorted(found, key=lambda port: port.get("PublishedPort", 0))


def _long_form(item: Section) -> str:
    for key in ("name", "app_protocol"):
        item.raw(key)  # they describe the port and change nothing
    fields = {key: item.text(key) for key in ("target", "published", "protocol", "mode")}
    item.reject_unread(HINTS)
    return ",".join(f"{key}={value}" for key, value in fields.items() if value)
