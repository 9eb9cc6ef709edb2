import pytest

from covey.errors import InvalidArgumentError
from node.node_ports import NodePorts, chosen_join_port, join_address, mtls_address, ports_of
from node.node_record import NodeRecord
from node.options import DaemonOptions

PLAIN = DaemonOptions()
RECORD = NodeRecord(node_id="n", cluster_id="c")


@pytest.mark.parametrize(
    ("listen", "advertise", "port"),
    [
        ("", "", 0),
        ("0.0.0.0:2377", "192.0.2.1", 0),
        ("0.0.0.0:2377", "192.0.2.1:4000", 4000),
        ("0.0.0.0:4000", "192.0.2.1", 4000),
        ("192.0.2.1:4000", "192.0.2.1:4000", 4000),
        ("eth0:4000", "", 4000),
        ("192.0.2.1:2377", "", 0),
    ],
)
def test_the_join_port_is_what_the_addresses_name(listen: str, advertise: str, port: int) -> None:
    assert chosen_join_port(PLAIN, listen, advertise) == port


def test_docker_clients_default_names_no_port_with_another_join_port() -> None:
    options = DaemonOptions(join_port=4000, mtls_port=4005)
    assert chosen_join_port(options, "0.0.0.0:2377", "") == 0
    assert ports_of(options, RECORD) == NodePorts(4000, 4005)


def test_ports_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="listen at port 4000, but advertise port 5000"):
        chosen_join_port(PLAIN, "0.0.0.0:4000", "192.0.2.1:5000")
    with pytest.raises(InvalidArgumentError, match="65535 leaves no port"):
        chosen_join_port(PLAIN, "0.0.0.0:65535", "")
    with pytest.raises(InvalidArgumentError, match="is this daemon's --mtls-port"):
        chosen_join_port(DaemonOptions(mtls_port=9000), "0.0.0.0:9000", "")


def test_the_mtls_port_is_beside_the_join_port_and_found_from_it() -> None:
    assert mtls_address(PLAIN, "192.0.2.1") == mtls_address(PLAIN, "192.0.2.1:2377") == "192.0.2.1:2378"
    assert mtls_address(PLAIN, "192.0.2.1:4000") == "192.0.2.1:4001"
    for text in ("192.0.2.1:2377", "192.0.2.1:4000", "[2001:db8::1]:4000"):
        assert join_address(PLAIN, mtls_address(PLAIN, text)) == text
    record = NodeRecord(node_id="n", cluster_id="c", join_port=4000)
    assert ports_of(PLAIN, record) == NodePorts(4000, 4001)
    assert ports_of(DaemonOptions(mtls_port=9000), record) == NodePorts(4000, 9000)
