"""Ports of this node's manager and of other managers: the join port, and the mTLS port beside it. Pure.

Invariant: a node that listens for joining nodes at port P serves other nodes at P + 1, unless ``--mtls-port`` is configured. So the address
that a user gives to ``swarm join`` is enough to find both.
"""

import msgspec

from covey.errors import InvalidArgumentError
from node import addresses
from node.addresses import ANY_ADDRESS, JOIN_PORT
from node.node_record import NodeRecord
from node.options import MTLS_PORT, DaemonOptions


class NodePorts(msgspec.Struct, frozen=True):
    join: int
    mtls: int


def ports_of(options: DaemonOptions, record: NodeRecord) -> NodePorts:
    """The ports where this node's manager listens, now or after a promotion."""
    join = record.join_port or options.join_port
    return NodePorts(join, mtls_port_beside(options, join))


def chosen_join_port(options: DaemonOptions, listen: str, advertise: str) -> int:
    """The join port that the addresses of ``swarm init`` or ``join`` name; 0 if they name none. Docker clients send 0.0.0.0:2377 by
    default, which names none.

    Raises:
        InvalidArgumentError: a port is invalid, or the two addresses have different ports.
    """
    listen_host, listen_port = addresses.split_port(listen, 0)
    _, advertise_port = addresses.split_port(advertise, 0)
    if listen_host in ANY_ADDRESS and listen_port == JOIN_PORT:
        listen_port = 0
    if listen_port and advertise_port and listen_port != advertise_port:
        raise InvalidArgumentError(
            f"this host would listen at port {listen_port}, but advertise port {advertise_port} to other nodes: "
            "give both addresses the same port"
        )
    port = listen_port or advertise_port
    if port in {0, options.join_port}:
        return 0
    mtls_port_beside(options, port)
    return port


def mtls_port_beside(options: DaemonOptions, join_port: int) -> int:
    """The mTLS port of a manager with this join port.

    Raises:
        InvalidArgumentError: there is none.
    """
    if join_port == options.join_port or options.mtls_port != MTLS_PORT:
        if join_port == options.mtls_port:
            raise InvalidArgumentError(f"port {join_port} is this daemon's --mtls-port: give another port")
        return options.mtls_port
    if join_port >= (1 << 16) - 1:
        raise InvalidArgumentError(f"port {join_port} leaves no port beside it for other nodes: give a lower one")
    return join_port + 1


def join_address(options: DaemonOptions, mtls_addr: str) -> str:
    """Where nodes join through the manager with this mTLS address."""
    host, port = addresses.split_port(mtls_addr, options.mtls_port)
    return addresses.join_host_port(host, options.join_port if port == options.mtls_port else port - 1)


def mtls_address(options: DaemonOptions, text: str) -> str:
    """The mTLS address of the manager that ``HOST`` or ``HOST:JOIN_PORT`` names."""
    host, port = addresses.split_port(text, options.join_port)
    return addresses.join_host_port(host, mtls_port_beside(options, port))
