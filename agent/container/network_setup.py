"""Network of a container at its start and while it runs: its namespace, its endpoints, and its files /etc/hosts and resolv.conf.

Invariant: what a container got is in its configuration before it runs. A container that another one links to has its present address in
the other's /etc/hosts. Called by `agent.container.lifecycle` and by the commands of `docker network`.
"""

from __future__ import annotations

import platform

import msgspec

from agent.container import bundle_mounts, etc_files, links
from agent.container.api import ContainerNetworks
from agent.container.index import ContainerIndex
from agent.container.link_environment import link_environment
from agent.container.model import Container, ContainerConfig, NetworkConnection
from agent.container.namespaces import joined_network, network_path
from agent.container.paths import ContainerPaths
from agent.container.record import ContainerRecord
from covey.errors import CoveyError


class NetworkSetup:
    """One per host."""

    def __init__(self, paths: ContainerPaths, index: ContainerIndex, networks: ContainerNetworks) -> None:
        self._paths = paths
        self._index = index
        self._networks = networks

    async def connect(self, record: ContainerRecord) -> ContainerConfig:
        """Connect a container that starts to its networks, and save what it got there.

        Returns its configuration for this start, with the names that /etc/hosts needs and the variables of links.
        """
        joined = joined_network(record.config, self._snapshot)
        if joined is None:
            connection, hostname = await self._networks.connect(record.config), record.config.hostname
        else:
            connection = NetworkConnection(netns_path=network_path(joined))
            hostname = etc_files.hostname(joined.config, platform.node())
        config = msgspec.structs.replace(
            record.config,
            netns_path=connection.netns_path,
            networks=connection.endpoints,
            resolver=connection.resolver,
            published=connection.published,
            hostname=hostname,
        )
        if config != record.config:
            self._index.set_config(record, config)
        hosts = links.extra_hosts(config, connection, self._snapshot)
        return self.with_links(msgspec.structs.replace(config, extra_hosts=hosts))

    def with_links(self, config: ContainerConfig) -> ContainerConfig:
        """The configuration with the variables of links, which the container's own go before."""
        if not config.links:
            return config
        try:
            variables = link_environment(config, self._snapshot)
        except CoveyError:  # a linked container was removed meanwhile
            return config
        return msgspec.structs.replace(config, env=(*variables, *config.env))

    def rewrite_etc_files(self, record: ContainerRecord) -> None:
        """Bring /etc/hosts and /etc/resolv.conf of a running container to its present networks and links."""
        gateway = next((item.gateway for item in record.config.networks if item.gateway), "")
        connection = NetworkConnection(endpoints=record.config.networks, host_gateway=gateway)
        try:
            hosts = links.extra_hosts(record.config, connection, self._snapshot)
        except CoveyError:  # a linked container has ended; its names stay out
            hosts = record.config.extra_hosts
        config = msgspec.structs.replace(record.config, extra_hosts=hosts)
        bundle_mounts.etc_binds(config, self._paths.folder(config.id), platform.node())

    def update_links_to(self, record: ContainerRecord) -> None:
        """Show the containers that link to this one, which has started again, its new address."""
        for other in self._index.list():
            if other.state.running and any(self._leads_to(link, record) for link in other.config.links):
                self.rewrite_etc_files(other)

    def _leads_to(self, link: str, record: ContainerRecord) -> bool:
        try:
            return self._index.find(links.parse_link(link)[0]) is record
        except CoveyError:
            return False

    def _snapshot(self, ref: str) -> Container:
        return self._index.find(ref).snapshot()
