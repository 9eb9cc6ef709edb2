"""Networks of a container service under test: each container keeps the namespace that its configuration names, by default loopback alone."""

from agent.container.model import (
    HOST_NETWORK,
    ContainerConfig,
    EndpointSettings,
    NetworkConnection,
    NetworkRequest,
)


class LoopbackNetworks:
    """Implements `agent.container.api.ContainerNetworks` without a kernel."""

    def __init__(self) -> None:
        self.released: list[str] = []

    async def connect(self, config: ContainerConfig) -> NetworkConnection:
        path = HOST_NETWORK if config.network_mode == HOST_NETWORK else config.netns_path
        return NetworkConnection(netns_path=path, endpoints=config.networks, resolver=config.resolver)

    async def release(self, container_id: str) -> None:
        self.released.append(container_id)

    async def join(self, config: ContainerConfig, request: NetworkRequest) -> NetworkConnection:
        endpoint = EndpointSettings(name=request.network, interface=f"eth{len(config.networks)}")
        return NetworkConnection(netns_path=config.netns_path, endpoints=(*config.networks, endpoint))

    async def leave(self, config: ContainerConfig, endpoint: EndpointSettings) -> NetworkConnection:
        kept = tuple(item for item in config.networks if item != endpoint)
        return NetworkConnection(netns_path=config.netns_path, endpoints=kept)

    async def renamed(self, config: ContainerConfig) -> None:
        return
