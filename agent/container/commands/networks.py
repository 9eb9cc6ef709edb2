"""`docker network connect` and `disconnect`, and other published ports: a container's networks after its creation."""

from __future__ import annotations

import msgspec

from agent.container.host import ContainerHost
from agent.container.model import (
    CONNECT_NETWORK,
    DISCONNECT_NETWORK,
    HOST_NETWORK,
    ContainerConfig,
    EndpointSettings,
    NetworkConnection,
    NetworkRequest,
    PortChanges,
)
from agent.container.namespaces import joined_container
from agent.container.record import ContainerRecord
from covey.errors import ConflictError, InvalidArgumentError, PermissionDeniedError

_NONE, _GATEWAY = "none", "docker_gwbridge"


async def connect_network(host: ContainerHost, ref: str, request: NetworkRequest) -> None:
    """Connect the container to one more network; one that does not run is connected at its next start."""
    record = host.index.find(ref)
    async with record.lock:
        config = record.config
        _check_connect(config, request)
        requests = (*config.requested_networks, request)
        if record.state.running:
            known = {item.network_id for item in config.networks}
            connection = await host.networks.join(config, request)
            config = _connected(host, record, connection)
            new = next(item for item in connection.endpoints if item.network_id not in known and item.name != _GATEWAY)
            _emit(host, record, CONNECT_NETWORK, new)
        host.index.set_config(record, msgspec.structs.replace(config, requested_networks=requests))


async def disconnect_network(host: ContainerHost, ref: str, network: str) -> None:
    """Disconnect the container from a network, which is a name or an id."""
    record = host.index.find(ref)
    async with record.lock:
        config = record.config
        if HOST_NETWORK in {network, config.network_mode}:
            raise InvalidArgumentError(
                "container cannot be disconnected from host network or connected to host network"
            )
        endpoint = next((item for item in config.networks if _is_endpoint_of(item, network)), None)
        names = {network} if endpoint is None else {network, endpoint.name, endpoint.network_id}
        requests = tuple(item for item in config.requested_networks if item.network not in names)
        if requests == config.requested_networks and endpoint is None:
            raise ConflictError(f"container {config.id} is not connected to network {network}")
        if record.state.running and endpoint is not None:
            config = _connected(host, record, await host.networks.leave(config, endpoint))
            _emit(host, record, DISCONNECT_NETWORK, endpoint)
        else:
            config = msgspec.structs.replace(config, networks=tuple(i for i in config.networks if i is not endpoint))
        host.index.set_config(record, msgspec.structs.replace(config, requested_networks=requests))


async def leave_network(host: ContainerHost, ref: str, network_id: str) -> None:
    """Take a running container off a network that it lost. Its next start asks for the network again."""
    record = host.index.find(ref)
    async with record.lock:
        endpoint = next((item for item in record.config.networks if item.network_id == network_id), None)
        if endpoint is not None and record.state.running:
            _connected(host, record, await host.networks.leave(record.config, endpoint))
            _emit(host, record, DISCONNECT_NETWORK, endpoint)


async def publish_ports(host: ContainerHost, ref: str, changes: PortChanges) -> None:
    """Publish other ports of a container, at once if it has its network."""
    record = host.index.find(ref)
    async with record.lock:
        config = msgspec.structs.replace(record.config, port_bindings=changes.bindings, in_mesh=changes.in_mesh)
        if config == record.config:
            return
        host.index.set_config(record, config)
        if config.networks:
            _connected(host, record, await host.networks.publish(config))


def _connected(host: ContainerHost, record: ContainerRecord, connection: NetworkConnection) -> ContainerConfig:
    """The configuration of a running container with these networks, which its files of /etc show too."""
    config = msgspec.structs.replace(
        record.config,
        networks=connection.endpoints,
        resolver=connection.resolver,
        netns_path=connection.netns_path,
        published=connection.published,
    )
    host.index.set_config(record, config)
    host.lifecycle.networks.rewrite_etc_files(record)
    return config


def _emit(host: ContainerHost, record: ContainerRecord, action: str, endpoint: EndpointSettings) -> None:
    host.index.emit(record, action, network=endpoint.name, network_id=endpoint.network_id, driver=endpoint.driver)


def _check_connect(config: ContainerConfig, request: NetworkRequest) -> None:
    """Refuse what conflicts with the container's networks, in Docker's words."""
    if config.network_mode == HOST_NETWORK or joined_container(config.network_mode):
        raise InvalidArgumentError(
            "container sharing network namespace with another container or host cannot be connected to any other network"
        )
    if request.network == HOST_NETWORK:
        raise InvalidArgumentError("container cannot be disconnected from host network or connected to host network")
    if _NONE in {request.network, config.network_mode}:
        raise InvalidArgumentError(
            "container cannot be connected to multiple networks with one of the networks in private (none) mode"
        )
    if request.network == "bridge" and request.ip:
        raise InvalidArgumentError("user specified IP address is supported on user defined networks only")
    taken = any(_is_endpoint_of(item, request.network) for item in config.networks)
    if taken or request.network in {item.network for item in config.requested_networks}:
        raise PermissionDeniedError(f"endpoint with name {config.name} already exists in network {request.network}")


def _is_endpoint_of(endpoint: EndpointSettings, network: str) -> bool:
    return network in {endpoint.name, endpoint.network_id}
