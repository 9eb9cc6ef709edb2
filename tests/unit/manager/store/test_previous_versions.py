"""Snapshots and log entries of the previous version are read as they were meant."""

from covey import codec
from covey.objects import Network, NetworkAttachment, Node, Service, Task
from covey.objects.assignment import NetworkEndpoint, VirtualService
from coveypb.v1 import objects_pb2


def test_a_network_with_a_vni_is_usable_though_it_was_stored_before_that_was_a_state() -> None:
    before = objects_pb2.Network(id="net", vni=4097)
    before.ipam.configs.add(subnet="10.0.1.0/24", gateway="10.0.1.1")
    network = codec.decode(Network, before.SerializeToString())
    assert (network.allocated, network.usable) == (False, True)
    assert not codec.decode(Network, objects_pb2.Network(id="new").SerializeToString()).usable


def test_tasks_nodes_and_services_have_no_second_family_and_no_mac() -> None:
    task = objects_pb2.Task(id="task")
    task.networks.add(network_id="net", address="10.0.1.5/24", aliases=["db"])
    read = codec.decode(Task, task.SerializeToString())
    assert read.networks == (NetworkAttachment(network_id="net", address="10.0.1.5/24", aliases=("db",)),)

    node = codec.decode(Node, objects_pb2.Node(id="node").SerializeToString())
    assert (node.attachments, node.description.wireguard) == ((), None)

    service = objects_pb2.Service(id="web")
    service.endpoint.virtual_ips.add(network_id="net", address="10.0.1.2/24")
    endpoint = codec.decode(Service, service.SerializeToString()).endpoint
    assert endpoint is not None
    assert (endpoint.virtual_ips[0].address, endpoint.virtual_ips[0].address6) == ("10.0.1.2/24", "")


def test_endpoints_and_virtual_services_are_ready_or_not_and_drain_never() -> None:
    wire = objects_pb2.NetworkEndpoint(id="t/n", address="10.0.1.5", ready=True)
    endpoint = codec.decode(NetworkEndpoint, wire.SerializeToString())
    assert (endpoint.ready, endpoint.draining, endpoint.mac) == (True, False, "")
    service = codec.decode(VirtualService, objects_pb2.VirtualService(id="s/n", address="10.0.1.2").SerializeToString())
    assert service.ports == ()
