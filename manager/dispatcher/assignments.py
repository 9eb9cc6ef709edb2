"""Assignments of a node as a function of the store, and the assignment diff between two sets.

Invariant: a node is not sent what it need not know. Secrets and configs are sent only while a task that should run uses them. Networks
and their endpoints are sent only where the node's own tasks join them. Pure; called by the assignment cache and the node sessions.
"""

from collections.abc import Iterable, Mapping

from covey.errors import InvalidArgumentError
from covey.mac_address import derived_mac
from covey.objects import Meta, Network, Node, Service, Task, TaskStatus, replace
from covey.objects.assignment import Assigned, AssignmentChange, AssignmentKind, NetworkEndpoint, VirtualService
from covey.placeholders import NodeFacts, expand
from covey.states import EndpointMode, NodeState, TaskState
from manager.store import View

AssignmentKey = tuple[AssignmentKind, str]
AssignmentSet = Mapping[AssignmentKey, Assigned]
_NO_META = Meta()


def difference(before: AssignmentSet, after: AssignmentSet) -> list[AssignmentChange]:
    """The assignment diff from one set to another, in a fixed order: objects that others depend on come first and are removed last."""
    changes = [
        AssignmentChange(kind=kind, id=item_id, item=item)
        for (kind, item_id), item in after.items()
        if before.get((kind, item_id)) != item
    ]
    changes += [AssignmentChange(kind=kind, id=item_id) for kind, item_id in before if (kind, item_id) not in after]
    return sorted(changes, key=_change_order)


def node_items(view: View, node_id: str) -> dict[AssignmentKey, Assigned]:
    """The node's tasks, and the secrets and configs of those that should run."""
    found: dict[AssignmentKey, Assigned] = {}
    for task in view.tasks.by_node(node_id):
        if task.status.state < TaskState.ASSIGNED:
            continue
        found[AssignmentKind.TASK, task.id] = without_reported_status(task)
        if task.desired_state > TaskState.RUNNING or task.status.state.terminal:
            continue
        for secret_reference in task.spec.container.secrets:
            secret = view.secrets.get(secret_reference.secret_id)
            if secret is not None:
                found[AssignmentKind.SECRET, secret.id] = replace(secret, meta=_NO_META)
        for config_reference in task.spec.container.configs:
            config = view.configs.get(config_reference.config_id)
            if config is not None:
                found[AssignmentKind.CONFIG, config.id] = replace(config, meta=_NO_META)
    return found


def networks_of(view: View, node_id: str) -> list[str]:
    """The networks of the node's tasks that have not ended."""
    found = {
        attachment.network_id
        for task in view.tasks.by_node(node_id)
        if task.status.state >= TaskState.ASSIGNED and not task.status.state.terminal
        for attachment in task.networks
    }
    return sorted(found)


def network_items(view: View, network_id: str) -> dict[AssignmentKey, Assigned]:
    """A network with its endpoints and virtual services. They are the same for every node on it."""
    network = view.networks.get(network_id)
    found: dict[AssignmentKey, Assigned] = {}
    if network is None or not network.usable:
        return found
    found[AssignmentKind.NETWORK, network.id] = _network_item(network)
    for task in view.tasks.by_network(network_id):
        endpoint = _network_endpoint(task, network_id, view.nodes.get(task.node_id))
        if endpoint is not None:
            found[AssignmentKind.ENDPOINT, endpoint.id] = endpoint
    for service in view.services.by_network(network_id):
        virtual = _virtual_service(service, network_id)
        if virtual is not None:
            found[AssignmentKind.VIRTUAL_SERVICE, virtual.id] = virtual
    return found


def node_facts(node: Node) -> NodeFacts:
    """The facts of a node that templates of its tasks may use."""
    return NodeFacts(
        id=node.id,
        hostname=node.description.hostname,
        os=node.description.platform.os,
        architecture=node.description.platform.architecture,
        labels=node.spec.annotations.labels,
    )


def without_reported_status(task: Task) -> Task:
    """The task without the status that its agent reported, so that a report does not come back as a change."""
    state = task.status.state if task.status.state.terminal else TaskState.ASSIGNED
    return replace(task, meta=_NO_META, status=TaskStatus(state=state))


def split_changes(changes: Iterable[AssignmentChange], *, limit: int) -> list[list[AssignmentChange]]:
    """The changes in parts of at most ``limit``; one empty part if there are none."""
    parts: list[list[AssignmentChange]] = [[]]
    for change in changes:
        if len(parts[-1]) >= limit:
            parts.append([])
        parts[-1].append(change)
    return parts


def _network_item(network: Network) -> Network:
    return replace(network, meta=_NO_META)


def _network_endpoint(task: Task, network_id: str, node: Node | None) -> NetworkEndpoint | None:
    """The endpoint of a task on the network; None before it has a node and an address, and after it ended."""
    if node is None or task.status.state < TaskState.ASSIGNED or task.status.state.terminal:
        return None
    attachment = next((one for one in task.networks if one.network_id == network_id and one.address), None)
    if attachment is None:
        return None
    service_name = task.service_annotations.name
    runs = task.status.state is TaskState.RUNNING and node.status.state is not NodeState.DOWN
    return NetworkEndpoint(
        id=f"{task.id}/{network_id}",
        network_id=network_id,
        task_id=task.id,
        node_id=task.node_id,
        host=node.description.data_path_addr or node.status.addr,
        address=attachment.address.partition("/")[0],
        service_id=task.service_id,
        service_name=service_name,
        task_name=task.annotations.name or f"{service_name}.{task.slot or task.node_id}.{task.id}",
        hostname=_hostname(task, node),
        # Aliases of a service lead to its VIP or to its ready tasks only, so its tasks have none of their own.
        aliases=() if task.service_id else attachment.aliases,
        ready=runs and task.desired_state is TaskState.RUNNING,
        address6=attachment.address6.partition("/")[0],
        mac=attachment.mac or derived_mac(attachment.address),
        draining=runs and task.desired_state > TaskState.RUNNING,
    )


def _hostname(task: Task, node: Node) -> str:
    """The hostname as the agent expands its template; empty if the template is invalid."""
    try:
        return expand(task.spec.container.hostname, task, node_facts(node))
    except InvalidArgumentError:
        return ""


def _virtual_service(service: Service, network_id: str) -> VirtualService | None:
    """The service on the network; None while it has no VIP yet but needs one."""
    attachment = next((one for one in service.spec.task.networks if one.target == network_id), None)
    mode = service.spec.endpoint.mode if service.spec.endpoint else EndpointMode.VIP
    vips = service.endpoint.virtual_ips if service.endpoint else ()
    vip = next((one.address for one in vips if one.network_id == network_id), "")
    if attachment is None or (mode is EndpointMode.VIP and not vip):
        return None
    return VirtualService(
        id=f"{service.id}/{network_id}",
        network_id=network_id,
        service_id=service.id,
        name=service.spec.annotations.name,
        aliases=attachment.aliases,
        mode=mode,
        address=vip.partition("/")[0] if mode is EndpointMode.VIP else "",
    )


_KIND_ORDER = {
    AssignmentKind.NETWORK: 0,
    AssignmentKind.SECRET: 1,
    AssignmentKind.CONFIG: 2,
    AssignmentKind.NODE_ENDPOINT: 3,
    AssignmentKind.ENDPOINT: 4,
    AssignmentKind.VIRTUAL_SERVICE: 5,
    AssignmentKind.TASK: 6,
}


def _change_order(change: AssignmentChange) -> tuple[bool, int, str]:
    is_removal = change.item is None
    rank = _KIND_ORDER[change.kind]
    return is_removal, -rank if is_removal else rank, change.id
