"""What a network consists of for its nodes: the network, its endpoints, virtual services and nodes, each a function of the store.

Invariant: each item depends on one object of the store and on those it names (a task on its node), so that a change of an object changes
few items, which ``affected_items`` names. Pure; called by the network parts.
"""

from __future__ import annotations

from collections.abc import Iterator

from covey.errors import InvalidArgumentError
from covey.mac_address import derived_mac
from covey.network_options import is_encrypted
from covey.objects import (
    Endpoint,
    Meta,
    Network,
    NetworkAttachment,
    Node,
    Object,
    PortConfig,
    Service,
    Task,
    replace,
)
from covey.objects.assignment import Assigned, AssignmentKind, NetworkEndpoint, NodeEndpoint, VirtualService
from covey.placeholders import NodeFacts, expand
from covey.states import EndpointMode, NodeState, TaskState
from covey.task_predicates import is_wanted_running, should_run
from manager.dispatcher.assignments import AssignmentKey
from manager.service_ports import endpoint_spec, ingress_ports, needs_ingress
from manager.store import View

_NO_META = Meta()


def network_items(view: View, network_id: str) -> dict[AssignmentKey, Assigned]:
    """All items of a network. They are the same for every node on it."""
    network = view.networks.get(network_id)
    if network is None or not network.usable:
        return {}
    keys = [(AssignmentKind.NETWORK, network_id)]
    keys += [(AssignmentKind.ENDPOINT, f"{task.id}/{network_id}") for task in view.tasks.by_network(network_id)]
    keys += [
        (AssignmentKind.VIRTUAL_SERVICE, f"{item.id}/{network_id}") for item in view.services.by_network(network_id)
    ]
    keys += [(AssignmentKind.NODE_ENDPOINT, f"{node.id}/{network_id}") for node in _nodes_of(view, network)]
    return {key: item for key in keys if (item := network_item(view, network, key)) is not None}


def network_item(view: View, network: Network, key: AssignmentKey) -> Assigned | None:
    """One item of a usable network; None if it does not exist now."""
    kind, object_id = key[0], key[1].partition("/")[0]
    match kind:
        case AssignmentKind.NETWORK:
            return replace(network, meta=_NO_META)
        case AssignmentKind.ENDPOINT:
            task = view.tasks.get(object_id)
            return _network_endpoint(task, network.id, view.nodes.get(task.node_id)) if task else None
        case AssignmentKind.VIRTUAL_SERVICE:
            service = view.services.get(object_id)
            return _virtual_service(service, network) if service else None
        case _:
            node = view.nodes.get(object_id)
            return _node_endpoint(view, node, network) if node else None


def affected_items(view: View, before: Object | None, after: Object | None) -> Iterator[tuple[str, AssignmentKey]]:
    """The network and key of each item that a change of an object other than a network may affect."""
    for item in (before, after):
        match item:
            case Task():
                for attachment in item.networks:
                    yield attachment.network_id, (AssignmentKind.ENDPOINT, f"{item.id}/{attachment.network_id}")
                    if item.node_id and _is_encrypted(view.networks.get(attachment.network_id)):
                        yield (
                            attachment.network_id,
                            (AssignmentKind.NODE_ENDPOINT, f"{item.node_id}/{attachment.network_id}"),
                        )
            case Service():
                for network_id in service_networks(item):
                    yield network_id, (AssignmentKind.VIRTUAL_SERVICE, f"{item.id}/{network_id}")
            case Node():
                if item is after or after is None:
                    yield from _affected_by_node(view, before, after, item.id)
            case _:
                pass


def service_networks(service: Service) -> Iterator[str]:
    """The networks that the service names or has a virtual IP on."""
    yield from (attachment.target for attachment in service.spec.task.networks)
    yield from (vip.network_id for vip in (service.endpoint.virtual_ips if service.endpoint else ()))


def node_facts(node: Node) -> NodeFacts:
    """The facts of a node that templates of its tasks may use."""
    return NodeFacts(
        id=node.id,
        hostname=node.description.hostname,
        os=node.description.platform.os,
        architecture=node.description.platform.architecture,
        labels=node.spec.annotations.labels,
    )


def underlay_address(node: Node) -> str:
    """The other end of tunnels to the node."""
    return node.description.data_path_addr or node.status.addr


def _affected_by_node(
    view: View, before: Object | None, after: Object | None, node_id: str
) -> Iterator[tuple[str, AssignmentKey]]:
    """The endpoints of the node's tasks, if a fact of theirs changed, and the node itself on the networks that show it."""
    if isinstance(before, Node) and isinstance(after, Node) and _as_seen(before) == _as_seen(after):
        return
    tasks_change = not (isinstance(before, Node) and isinstance(after, Node) and _host(before) == _host(after))
    ingress = view.networks.ingress()
    if ingress is not None:
        yield ingress.id, (AssignmentKind.NODE_ENDPOINT, f"{node_id}/{ingress.id}")
    for task in view.tasks.by_node(node_id):
        for attachment in task.networks:
            if tasks_change:
                yield attachment.network_id, (AssignmentKind.ENDPOINT, f"{task.id}/{attachment.network_id}")
            if _is_encrypted(view.networks.get(attachment.network_id)):
                yield attachment.network_id, (AssignmentKind.NODE_ENDPOINT, f"{node_id}/{attachment.network_id}")


def _host(node: Node) -> tuple[object, ...]:
    """What the endpoints of the node's tasks show of it."""
    return underlay_address(node), node.status.state is NodeState.DOWN, node_facts(node)


def _as_seen(node: Node) -> tuple[object, ...]:
    """What other nodes see of it."""
    return (*_host(node), node.attachments, node.description.wireguard, node.description.addresses)


def _is_encrypted(network: Network | None) -> bool:
    return network is not None and is_encrypted(network.spec.driver.options)


def _nodes_of(view: View, network: Network) -> list[Node]:
    """The nodes that may have an item of their own on the network."""
    if network.spec.ingress:
        return list(view.nodes)
    if not _is_encrypted(network):
        return []
    ids = {task.node_id for task in view.tasks.by_network(network.id) if task.node_id}
    return [node for key in sorted(ids) if (node := view.nodes.get(key)) is not None]


def _network_endpoint(task: Task, network_id: str, node: Node | None) -> NetworkEndpoint | None:
    """The endpoint of a task on the network; None before it has a node and an address, and after it ended."""
    attachment = _live_attachment(task, network_id)
    if node is None or attachment is None:
        return None
    service_name = task.service_annotations.name
    runs = task.status.state is TaskState.RUNNING and node.status.state is not NodeState.DOWN
    return NetworkEndpoint(
        id=f"{task.id}/{network_id}",
        network_id=network_id,
        task_id=task.id,
        node_id=task.node_id,
        host=underlay_address(node),
        address=attachment.address.partition("/")[0],
        service_id=task.service_id,
        service_name=service_name,
        task_name=task.annotations.name or f"{service_name}.{task.slot or task.node_id}.{task.id}",
        hostname=_hostname(task, node),
        # Aliases of a service lead to its VIP or to its ready tasks only, so its tasks have none of their own.
        aliases=() if task.service_id else attachment.aliases,
        ready=runs and is_wanted_running(task),
        address6=attachment.address6.partition("/")[0],
        mac=attachment.mac or derived_mac(attachment.address),
        draining=runs and not should_run(task),
        node_name=node.description.hostname,
    )


def _live_attachment(task: Task, network_id: str) -> NetworkAttachment | None:
    """The addresses on the network of a task that is on a node and has not ended."""
    if not task.node_id or task.status.state < TaskState.ASSIGNED or task.status.state.terminal:
        return None
    return next((one for one in task.networks if one.network_id == network_id and one.address), None)


def _hostname(task: Task, node: Node) -> str:
    """The hostname as the agent expands its template; empty if the template is invalid."""
    try:
        return expand(task.spec.container.hostname, task, node_facts(node))
    except InvalidArgumentError:
        return ""


def _virtual_service(service: Service, network: Network) -> VirtualService | None:
    """The service on the network; None while it has no VIP yet but needs one. On the ingress network it has its published ports."""
    endpoint = service.endpoint
    attachment = next((one for one in service.spec.task.networks if one.target == network.id), None)
    vip = next((one for one in (endpoint.virtual_ips if endpoint else ()) if one.network_id == network.id), None)
    mode = endpoint_spec(service).mode
    if network.spec.ingress and (endpoint is None or not needs_ingress(endpoint.spec)):
        return None
    if (attachment is None and not network.spec.ingress) or (mode is EndpointMode.VIP and vip is None):
        return None
    has_vip = vip is not None and mode is EndpointMode.VIP
    return VirtualService(
        id=f"{service.id}/{network.id}",
        network_id=network.id,
        service_id=service.id,
        name=service.spec.annotations.name,
        aliases=attachment.aliases if attachment is not None else (),
        mode=mode,
        address=vip.address.partition("/")[0] if vip is not None and has_vip else "",
        address6=vip.address6.partition("/")[0] if vip is not None and has_vip else "",
        ports=_ports_on(network, endpoint) if endpoint is not None else (),
    )


def _ports_on(network: Network, endpoint: Endpoint) -> tuple[PortConfig, ...]:
    """Those that every node publishes, on the ingress network; elsewhere all that SRV records name."""
    return ingress_ports(endpoint.ports) if network.spec.ingress else endpoint.ports


def _node_endpoint(view: View, node: Node, network: Network) -> NodeEndpoint | None:
    """The node on the ingress network once it has an address there, or on an encrypted network while it has a task there."""
    own = next((one for one in node.attachments if one.network_id == network.id), None)
    if own is None and not _has_endpoint(view, node, network):
        return None
    return NodeEndpoint(
        id=f"{node.id}/{network.id}",
        network_id=network.id,
        node_id=node.id,
        hostname=node.description.hostname,
        host=underlay_address(node),
        address=own.address.partition("/")[0] if own else "",
        address6=own.address6.partition("/")[0] if own else "",
        mac=own.mac if own else "",
        addresses=node.description.addresses if network.spec.ingress else (),
        wireguard=node.description.wireguard if _is_encrypted(network) else None,
    )


def _has_endpoint(view: View, node: Node, network: Network) -> bool:
    if network.spec.ingress or not _is_encrypted(network):
        return False
    return any(_live_attachment(task, network.id) is not None for task in view.tasks.by_node(node.id))
