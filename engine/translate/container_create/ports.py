"""Published ports of a new container: `HostConfig.PortBindings`, checked in Docker's words."""

import ipaddress

from agent.container.model import PortBinding
from covey.errors import InvalidArgumentError
from covey.port_numbers import container_port, port_range
from engine.translate.json_fields import JsonFields

PortBindings = dict[str, tuple[PortBinding, ...] | None]


def read_bindings(fields: JsonFields) -> PortBindings:
    """Where each port of the container is to be published. A port without bindings stays, because inspection shows it.

    Raises InvalidArgumentError: a port, a range, a protocol or an address is none.
    """
    given = fields.child("PortBindings")
    if given is None:
        return {}
    found: PortBindings = {}
    for name in given.names():
        port = container_port(name)
        raw = given.raw(name)
        found[port] = None if raw is None else (*(found.get(port) or ()), *given.read_all(name, _binding))
    return found


def _binding(fields: JsonFields) -> PortBinding:
    address, port = fields.text("HostIp"), fields.text("HostPort")
    fields.refuse_unsupported()
    port_range(port)
    if address:
        try:
            address = str(ipaddress.ip_address(address.strip("[]")))
        except ValueError:
            raise InvalidArgumentError(f"invalid IP address: {address}") from None
    return PortBinding(host_address=address, host_port=port)
