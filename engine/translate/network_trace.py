"""Traces of packets: a request's question, the view of cluster and host that it is asked of, and the answer as JSON. Pure."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from agent.container.model import Container, PublishedPort
from agent.local_network.model import LocalNetwork, device_name
from agent.network.trace.model import (
    Attachment,
    Endpoint,
    Host,
    Question,
    Trace,
    TracedNetwork,
    TracedService,
    View,
)
from covey.errors import InvalidArgumentError
from covey.objects import Network, Node, Service, Task
from covey.placeholders import task_name
from covey.states import PublishMode, TaskState
from covey.task_predicates import is_wanted_running

PROTOCOLS = ("tcp", "udp", "sctp")
_MAX_PORT = 65535
_MAX_NAME = 255


def read_question(query: Mapping[str, str]) -> Question:
    """The question of `from`, `to`, `port` and `protocol`. Raises InvalidArgumentError, which names the parameter."""
    for name in ("from", "to"):
        if not query.get(name):
            raise InvalidArgumentError(
                f"the parameter {name} is missing: it names a container, task, service, node or address"
            )
        if len(query[name]) > _MAX_NAME:
            raise InvalidArgumentError(f"the parameter {name} has more than {_MAX_NAME} characters")
    text = query.get("port", "") or "0"
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(_MAX_PORT)) and int(text) <= _MAX_PORT):
        raise InvalidArgumentError(f"invalid port {text!r}: it is a number from 1 to {_MAX_PORT}")
    protocol = query.get("protocol", "") or PROTOCOLS[0]
    if protocol not in PROTOCOLS:
        raise InvalidArgumentError(f"invalid protocol {protocol!r}: use {', '.join(PROTOCOLS)}")
    return Question(source=query["from"], target=query["to"], port=int(text), protocol=protocol)


def trace_json(found: Trace) -> dict[str, Any]:
    """`State` is passed, broken or note. The broken hops come last on their way."""
    return {
        "Reached": found.reached,
        "Hops": [
            {
                "Host": one.host,
                "Namespace": one.namespace,
                "Step": one.step,
                "Read": one.read,
                "Found": one.found,
                "State": one.state.value,
                "Reason": one.reason,
                "Remedy": one.remedy,
            }
            for one in found.hops
        ],
    }


def cluster_view(
    nodes: Iterable[Node], networks: Iterable[Network], services: Iterable[Service], tasks: Iterable[Task]
) -> View:
    """What the managers know."""
    hosts = {node.id: node for node in nodes}
    names = host_names(hosts.values())
    known = {one.id: one for one in networks}
    return View(
        hosts={
            names[one.id]: Host(name=names[one.id], address=one.status.addr, node_id=one.id) for one in hosts.values()
        },
        networks={one.id: _network(one) for one in known.values()},
        endpoints=_merged(
            _of_task(one, names[one.node_id], known)
            for one in tasks
            if one.node_id in hosts and one.status.state is TaskState.RUNNING
        ),
        services=tuple(_service(one) for one in services),
    )


def with_local(view: View, host: str, containers: Iterable[Container], networks: Iterable[LocalNetwork]) -> View:
    """The view with the containers and networks of this host."""
    known = dict(view.networks)
    for network in networks:
        known.setdefault(network.id, TracedNetwork(id=network.id, name=network.name, device=device_name(network)))
    endpoints = {one.container_id: one for one in view.endpoints}
    for container in containers:
        if not container.state.running:
            continue
        for item in container.config.networks:
            known.setdefault(
                item.network_id, TracedNetwork(id=item.network_id, name=item.name, overlay=item.driver == "overlay")
            )
        endpoints[container.id] = _of_container(container, host, endpoints.get(container.id))
    hosts = {**view.hosts, host: view.hosts.get(host, Host(name=host))}
    return msgspec.structs.replace(view, hosts=hosts, networks=known, endpoints=tuple(endpoints.values()))


def own_host(view: View, node_id: str, hostname: str) -> str:
    """How this host is called in the view: as the managers know the node, or by its host name."""
    return next((name for name, one in view.hosts.items() if one.node_id and one.node_id == node_id), hostname)


def host_names(nodes: Iterable[Node]) -> dict[str, str]:
    """How a trace calls the nodes, by id: by the host name, or by the id where several have it."""
    known = list(nodes)
    counts = Counter(node.description.hostname for node in known)
    return {
        node.id: node.description.hostname
        if counts[node.description.hostname] == 1 and node.description.hostname
        else node.id
        for node in known
    }


def _network(network: Network) -> TracedNetwork:
    return TracedNetwork(
        id=network.id,
        name=network.spec.annotations.name,
        overlay=not network.node_local,
        vni=network.vni,
        ingress=network.spec.ingress,
    )


def _of_task(task: Task, host: str, networks: Mapping[str, Network]) -> Endpoint:
    name = task.annotations.name if task.attached_container_id else task_name(task)
    names = [name, task.id]
    if task.service_annotations.name:
        names.append(f"{task.service_annotations.name}.{task.slot or task.node_id}")
    else:
        names += [alias for one in task.networks for alias in one.aliases]
    return Endpoint(
        name=name or task.id,
        container_id=task.attached_container_id
        or (task.status.container.container_id if task.status.container else ""),
        host=host,
        names=tuple(names),
        attachments=tuple(
            Attachment(network=one.network_id, addresses=_bare(one.address, one.address6), mac=one.mac)
            for one in task.networks
            if one.network_id in networks and _bare(one.address, one.address6)
        ),
        ready=is_wanted_running(task),
        service=task.service_id,
        published=tuple(f"{port.protocol.name.lower()} {port.published_port}" for port in task.status.ports),
    )


def _merged(endpoints: Iterable[Endpoint]) -> tuple[Endpoint, ...]:
    """The endpoints, those of one container as one: a single container has a task for each of its networks."""
    found: dict[str, Endpoint] = {}
    for one in endpoints:
        known = found.get(one.container_id)
        found[one.container_id] = (
            one
            if known is None
            else msgspec.structs.replace(
                known,
                names=tuple(dict.fromkeys((*known.names, *one.names))),
                attachments=(*known.attachments, *one.attachments),
            )
        )
    return tuple(found.values())


def _of_container(container: Container, host: str, task: Endpoint | None) -> Endpoint:
    own = [
        Attachment(network=one.network_id, addresses=_bare(one.ip, one.ip6), mac=one.mac)
        for one in container.config.networks
        if one.network_id and _bare(one.ip, one.ip6)
    ]
    ports = tuple(_port(one) for one in container.config.published)
    if task is None:
        return Endpoint(
            name=container.name,
            container_id=container.id,
            host=host,
            names=(container.name, *(alias for one in container.config.networks for alias in one.aliases)),
            attachments=tuple(own),
            published=ports,
        )
    networks = {one.network for one in task.attachments}
    return msgspec.structs.replace(
        task,
        names=(*task.names, container.name),
        attachments=(*task.attachments, *(one for one in own if one.network not in networks)),
        published=tuple(dict.fromkeys((*task.published, *ports))),
    )


def _service(service: Service) -> TracedService:
    endpoint = service.endpoint
    return TracedService(
        id=service.id,
        name=service.spec.annotations.name,
        aliases=tuple(alias for one in service.spec.task.networks for alias in one.aliases),
        vips={one.network_id: _bare(one.address, one.address6) for one in endpoint.virtual_ips} if endpoint else {},
        published=tuple(
            f"{port.protocol.name.lower()} {port.published_port}"
            for port in (endpoint.ports if endpoint else ())
            if port.publish_mode is PublishMode.INGRESS
        ),
    )


def _port(port: PublishedPort) -> str:
    return f"{port.port.partition('/')[2] or 'tcp'} {port.host_port}"


def _bare(*addresses: str) -> tuple[str, ...]:
    return tuple(one.partition("/")[0] for one in addresses if one)
