import socket

import pytest

from covey.errors import UnavailableError
from node.free_ports import require_free_ports
from node.node_ports import NodePorts


def test_a_port_on_which_someone_listens_is_named_with_the_remedy() -> None:
    with socket.socket() as taken, socket.socket() as free:
        taken.bind(("127.0.0.1", 0))
        free.bind(("127.0.0.1", 0))
        taken.listen()
        port, other = taken.getsockname()[1], free.getsockname()[1]
        free.close()
        for ports in (NodePorts(port, other), NodePorts(other, port)):
            with pytest.raises(UnavailableError, match=f"port {port} is in use on this host: .*--listen-addr"):
                require_free_ports("127.0.0.1", ports)
    require_free_ports("127.0.0.1", NodePorts(port, other))
