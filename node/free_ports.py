"""Check that this node's ports are free before it asks for a certificate.

A join that fails later leaves a node without a name in the cluster, because the manager has recorded it with the certificate. A worker's
ports are checked too: they are used after a promotion, when no user is there to see the error.
"""

import errno
import socket

from covey.errors import UnavailableError
from node.node_ports import NodePorts


def require_free_ports(listen_addr: str, ports: NodePorts) -> None:
    """Return if a manager could listen at both ports now.

    Raises:
        UnavailableError: names the port that is in use.
    """
    for port in (ports.join, ports.mtls):
        with socket.socket(socket.AF_INET6 if ":" in listen_addr else socket.AF_INET) as link:
            link.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                link.bind((listen_addr, port))
            except OSError as error:
                if error.errno == errno.EADDRINUSE:
                    raise UnavailableError(
                        f"port {port} is in use on this host: stop what listens there, or name another port with --listen-addr"
                    ) from None
