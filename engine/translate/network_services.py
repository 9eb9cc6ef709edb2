"""``Services`` of a network that is inspected with ``verbose``: virtual IPs, and the tasks with their endpoints. Pure."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from covey.ids import endpoint_id
from covey.network_options import is_encrypted
from covey.objects import Network, NetworkAttachment, Node, Service, Task
from covey.placeholders import task_name
from covey.states import PublishMode, TaskState

INGRESS_SANDBOX = "ingress-sbox"
"""Docker's name for a node itself among the containers of the ingress network."""


def write_services(
    network_id: str, services: Collection[Service], tasks: Iterable[Task], nodes: Mapping[str, Node]
) -> dict[str, Any]:
    """The services with a running task on the network, by name.

    ``LocalLBIndex`` is 0: traffic to a virtual IP is not balanced by IPVS, which would number it.
    """
    ports = {service.id: _ingress_ports(service, network_id) for service in services}
    virtual_ips = {service.id: _virtual_ip(service, network_id) for service in services}
    result: dict[str, Any] = {}
    for task in sorted(tasks, key=lambda task: (task.service_annotations.name, task.slot, task.id)):
        address = next((item.address for item in task.networks if item.network_id == network_id), "")
        if not address or task.status.state is not TaskState.RUNNING:
            continue
        entry = result.setdefault(
            task.service_annotations.name,
            {
                "VIP": virtual_ips.get(task.service_id, ""),
                "Ports": ports.get(task.service_id, []),
                "LocalLBIndex": 0,
                "Tasks": [],
            },
        )
        entry["Tasks"].append(_task(task, network_id, address, nodes))
    return result


def write_peers(network: Network, nodes: Iterable[Node], used: Collection[str] = ()) -> list[dict[str, str]]:
    """The nodes on the network: those in ``used`` and those with an address of their own. Those of an encrypted network with what
    encrypts on them, which Docker's engine does not show.
    """
    encrypted = is_encrypted(network.spec.driver.options)
    return [
        {"Name": node.id, "IP": node.status.addr, **(_encryption(node) if encrypted else {})}
        for node in sorted(nodes, key=lambda node: node.id)
        if node.id in used or _own_address(node, network.id) is not None
    ]


def write_ingress(network: Network, nodes: Sequence[Node], own_id: str) -> dict[str, Any]:
    """What Docker shows of the ingress network without being asked: the nodes, and this node's address as that of a container."""
    own = next((item for node in nodes if node.id == own_id and (item := _own_address(node, network.id))), None)
    sandbox = (
        {
            "Name": "ingress-endpoint",
            "EndpointID": endpoint_id(INGRESS_SANDBOX, network.id),
            "MacAddress": own.mac,
            "IPv4Address": own.address,
            "IPv6Address": own.address6,
        }
        if own is not None
        else None
    )
    return {
        "Peers": write_peers(network, nodes),
        "Containers": {INGRESS_SANDBOX: sandbox} if sandbox is not None else {},
    }


def _encryption(node: Node) -> dict[str, str]:
    found = node.description.wireguard
    return {"Encryption": found.implementation if found is not None else "none"}


def _own_address(node: Node, network_id: str) -> NetworkAttachment | None:
    return next((item for item in node.attachments if item.network_id == network_id), None)


def _task(task: Task, network_id: str, address: str, nodes: Mapping[str, Node]) -> dict[str, Any]:
    container_id = task.status.container.container_id if task.status.container else ""
    node = nodes.get(task.node_id)
    return {
        "Name": task_name(task),
        "EndpointID": endpoint_id(container_id, network_id) if container_id else "",
        "EndpointIP": address.partition("/")[0],
        "Info": {"Host IP": node.status.addr if node else ""},
    }


def _ingress_ports(service: Service, network_id: str) -> list[str]:
    """The ports that the service publishes on this network, if it is the ingress network, which no service names."""
    if service.endpoint is None or any(item.target == network_id for item in service.spec.task.networks):
        return []
    return [
        f"Target: {port.target_port}, Publish: {port.published_port}"
        for port in service.endpoint.ports
        if port.publish_mode is PublishMode.INGRESS
    ]


def _virtual_ip(service: Service, network_id: str) -> str:
    addresses = service.endpoint.virtual_ips if service.endpoint else ()
    return next((item.address.partition("/")[0] for item in addresses if item.network_id == network_id), "")
