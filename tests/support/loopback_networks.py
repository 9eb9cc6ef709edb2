"""Networks of a container service under test: each container keeps the namespace that its configuration names, by default loopback alone."""

from agent.container.model import HOST_NETWORK, ContainerConfig, NetworkConnection


class LoopbackNetworks:
    """Implements `agent.container.api.ContainerNetworks` without a kernel."""

    def __init__(self) -> None:
        self.released: list[str] = []

    async def connect(self, config: ContainerConfig) -> NetworkConnection:
        path = HOST_NETWORK if config.network_mode == HOST_NETWORK else config.netns_path
        return NetworkConnection(netns_path=path, endpoints=config.networks, resolver=config.resolver)

    async def release(self, container_id: str) -> None:
        self.released.append(container_id)
