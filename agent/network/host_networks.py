"""All networks of one host, brought to the cluster's state: sandboxes of containers and overlay networks, and their fragments.

Invariant: the kernel is the record of what was done, so a restarted daemon finds it again.
Invariant: a network that fails does not stop the others. The failure is returned and the next `apply` retries.
Invariant: fragments are planned and handed to the reconciler without a pause, so they follow the state in order.

Owned by `driver`. What blocks runs on the driver's thread; what changes the kernel below a namespace is the reconciler's.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from agent.dns.upstream import RESOLVER_ADDRESS
from agent.network import bridge_netfilter, links
from agent.network.backends import BackendTable, service_backends
from agent.network.container_names import ContainerNames
from agent.network.container_sandboxes import ContainerSandboxes
from agent.network.draining import ConnectionDrain
from agent.network.host_facts import HostFacts
from agent.network.kernel.refusal import VxlanIdInUseError
from agent.network.kernel_thread import KernelThread
from agent.network.model import (
    Attachment,
    NetworkChanges,
    NetworkFailure,
    TunnelEndpoint,
)
from agent.network.namespace_state import container_key
from agent.network.netns import Namespace
from agent.network.overlay_fragments import OverlayDelta, base_key, plan_changes, whole
from agent.network.overlays import Overlays
from agent.network.plan.names import port_name
from agent.network.plan.overlay import Overlay
from agent.network.plan.resolver import plan_resolver
from agent.network.put_fragments import PutFragments
from agent.network.reconciler import Reconciler
from agent.network.sandbox import Sandbox
from agent.network.state import NetworkState
from covey.errors import CoveyError, NotFoundError

logger = logging.getLogger(__name__)


class HostNetworks:
    """Joins the state, the overlays, the container sandboxes and service discovery of one host."""

    def __init__(
        self, host_address: str, run_dir: Path, namespace: Namespace, reconciler: Reconciler, thread: KernelThread
    ) -> None:
        self.namespace = namespace
        self.sandboxes = ContainerSandboxes(run_dir / "netns" / "containers")
        self.overlays = Overlays(run_dir / "netns" / "networks", namespace, host_address, reconciler, thread)
        self.drain = ConnectionDrain()
        self._reconciler = reconciler
        self._thread = thread
        self._state = NetworkState()
        self.names = ContainerNames(self.sandboxes)
        self.facts = HostFacts(namespace, thread)
        self._attached: dict[str, dict[str, Attachment]] = {}
        self._put = PutFragments(reconciler)
        self._failed: dict[str, OverlayDelta] = {}

    async def start(self) -> None:
        """Find what an earlier process left."""

        def prepare() -> None:
            self.overlays.prepare()
            self.sandboxes.prepare()
            self.namespace.run(bridge_netfilter.ensure)

        await self._thread.run(prepare)

    async def close(self) -> None:
        await self._thread.run(self.sandboxes.close)
        self.namespace.close()

    async def set_endpoint(self, endpoint: TunnelEndpoint) -> None:
        if endpoint == self.overlays.endpoint:
            return
        self.overlays.set_endpoint(endpoint)
        networks = {*self.overlays.ids(), *self._failed}
        for failure in await self._reconcile({key: self._whole(key) for key in networks}):
            logger.warning("network %s on the new address %s: %s", failure.network_id, endpoint.address, failure.reason)

    async def apply(self, changes: NetworkChanges) -> tuple[NetworkFailure, ...]:
        """Apply changes of the cluster. Networks that failed before are tried again."""
        deltas = self._failed
        self._failed = {}
        for network_id, delta in self._state.apply(changes).items():
            deltas.setdefault(network_id, OverlayDelta()).update(delta)
        return await self._reconcile(deltas)

    async def create_sandbox(self, container_id: str) -> Sandbox:
        if container_id in self.sandboxes:
            return self.sandboxes.get(container_id)
        sandbox = await self._thread.run(lambda: self.sandboxes.open(container_id))
        try:
            await self._register(sandbox)
        except BaseException:
            await self.destroy_sandbox(container_id)
            raise
        return sandbox

    async def adopt(self, container_id: str, attachments: Sequence[Attachment]) -> Sandbox:
        """Adopt the sandbox of a running container. What is missing in it is made again; connections continue."""
        is_known = container_id in self.sandboxes
        sandbox = await self._thread.run(lambda: self.sandboxes.open_existing(container_id))
        if not is_known:
            await self._register(sandbox)
        deltas: dict[str, OverlayDelta] = {}
        for attachment in attachments:
            self._set_attachment(sandbox, attachment)
            deltas[attachment.network_id] = OverlayDelta(containers={container_id}, addresses={attachment.ip})
        for failure in await self._reconcile(deltas):
            logger.warning("container %s on network %s: %s", container_id[:12], failure.network_id, failure.reason)
        return sandbox

    async def attach(self, container_id: str, attachment: Attachment) -> None:
        """Join the container to an overlay network. Raises NotFoundError when the network was not applied before."""
        sandbox = self.sandboxes.get(container_id)
        network_id = attachment.network_id
        if network_id not in self._state.networks:
            raise NotFoundError(f"network {network_id} is not known on this host yet")
        self._set_attachment(sandbox, attachment)
        delta = OverlayDelta(containers={container_id}, addresses={attachment.ip})
        delta.configuration = network_id in self._failed
        try:
            await self._bring(network_id, delta)
        except CoveyError:
            await self.detach(container_id, network_id)
            raise
        await self._thread.run(lambda: self._await_carrier(sandbox, attachment))

    def _await_carrier(self, sandbox: Sandbox, attachment: Attachment) -> None:
        """Return once the first packet of a new interface passes."""
        outer = Namespace(str(self.overlays.path(attachment.network_id)))
        try:
            links.await_carrier(sandbox.namespace, attachment.interface)
            links.await_carrier(outer, port_name(sandbox.container_id, attachment.interface))
        finally:
            outer.close()

    async def detach(self, container_id: str, network_id: str) -> None:
        sandbox = self.sandboxes.get(container_id)
        attachment = sandbox.attachments.pop(network_id, None)
        if attachment is not None:
            await self._detached(container_id, attachment)

    async def destroy_sandbox(self, container_id: str) -> None:
        self._reconciler.close_namespace(container_key(container_id))
        attachments: list[Attachment] = []
        if container_id in self.sandboxes:
            sandbox = self.sandboxes.get(container_id)
            attachments, sandbox.attachments = list(sandbox.attachments.values()), {}
        await asyncio.gather(
            self._reconciler.drop(_resolver_key(container_id)),
            *(self._detached(container_id, each) for each in attachments),
        )
        await self._thread.run(lambda: self.sandboxes.remove(container_id))

    async def clean(self) -> tuple[str, ...]:
        """Remove sandboxes that were not adopted and networks that are neither known nor used. Returns their names.

        A network that failed keeps its namespace while a container is attached to it. The next try adopts it.
        """
        removed = [f"container {key}" for key in await self.clean_sandboxes()]
        removed += [f"network {key}" for key in await self.overlays.remove_unused(self._used_networks())]
        return tuple(removed)

    async def clean_sandboxes(self, kept: Collection[str] = ()) -> tuple[str, ...]:
        """Remove sandboxes that were not adopted, except those of the containers `kept`. Returns the ids of their containers."""
        found = await self._thread.run(self.sandboxes.paths)
        unused = tuple(key for key in found if key not in self.sandboxes and key not in kept)
        for container_id in unused:
            await self.destroy_sandbox(container_id)
        return unused

    async def remove_everything(self) -> None:
        """Remove all containers' sandboxes and all networks of the cluster."""
        for container_id in await self._thread.run(self.sandboxes.paths):
            await self.destroy_sandbox(container_id)
        self._state = NetworkState()
        self._failed = {}
        for network_id in self.overlays.ids():
            await self._remove(network_id)
        await self.clean()

    async def _register(self, sandbox: Sandbox) -> None:
        """Make a sandbox known, and lead its DNS questions to its resolver."""
        self.sandboxes.add(sandbox)
        self.names.mark(sandbox.container_id)
        path = Path(sandbox.namespace.path)
        self._reconciler.open_namespace(container_key(sandbox.container_id), path)
        if sandbox.sockets is not None:
            ports = {"udp_port": sandbox.sockets.udp_port, "tcp_port": sandbox.sockets.tcp_port}
            fragment = plan_resolver(sandbox.container_id, RESOLVER_ADDRESS, **ports)
            await self._reconciler.put(_resolver_key(sandbox.container_id), fragment)

    def _set_attachment(self, sandbox: Sandbox, attachment: Attachment) -> None:
        sandbox.attachments[attachment.network_id] = attachment
        self._attached.setdefault(attachment.network_id, {})[sandbox.container_id] = attachment
        self.names.mark(sandbox.container_id)

    async def _detached(self, container_id: str, attachment: Attachment) -> None:
        network_id = attachment.network_id
        members = self._attached.get(network_id, {})
        members.pop(container_id, None)
        if not members:
            self._attached.pop(network_id, None)
        self.names.mark(container_id)
        delta = OverlayDelta(containers={container_id}, addresses={attachment.ip})
        for failure in await self._reconcile({network_id: delta}):
            logger.warning("network %s after container %s left: %s", network_id, container_id[:12], failure.reason)

    async def _reconcile(self, deltas: Mapping[str, OverlayDelta]) -> tuple[NetworkFailure, ...]:
        async def bring(network_id: str) -> NetworkFailure | None:
            try:
                await self._bring(network_id, deltas[network_id])
            except (CoveyError, OSError) as error:
                return NetworkFailure(network_id, str(error))
            return None

        removed = [network_id for network_id in sorted(deltas) if network_id not in self._state.networks]
        others = [network_id for network_id in sorted(deltas) if network_id in self._state.networks]
        # Removals first: another network may have got the VXLAN id of one.
        results = [await asyncio.gather(*map(bring, part)) for part in (removed, others)]
        return tuple(failure for part in results for failure in part if failure is not None)

    async def _bring(self, network_id: str, delta: OverlayDelta) -> None:
        """Bring parts of a network to the desired state, then its names, so that none leads to a VIP that is not there yet.

        Raises the first failure; what failed is remembered for the next `apply`.
        """
        try:
            await self._bring_kernel(network_id, delta)
        finally:
            self.names.update(self._state, network_id, self._attached.get(network_id, {}), delta)

    async def _bring_kernel(self, network_id: str, delta: OverlayDelta) -> None:
        """The sandbox, forwarding entries, interfaces and VIPs."""
        network = self._state.networks.get(network_id)
        if network is None:
            if delta.configuration or delta.containers or network_id in self.overlays:
                await self._remove(network_id)
            return
        try:
            overlay, is_new, is_left = await self.overlays.ensure(network)
        except (CoveyError, OSError):
            self._fail(network_id).configuration = True
            raise
        if is_left:
            self.drain.adopt(network_id, tuple(each.subnet for each in network.subnets))
        errors = await self._put_changes(overlay, self._whole(network_id) if is_new else delta)
        if isinstance(errors.get(base_key(network_id)), VxlanIdInUseError):
            is_free, owner = await self.overlays.free_vxlan_id(network.vni, self._state.networks)
            if is_free:
                errors = await self._put_changes(overlay, OverlayDelta(configuration=True))
            elif owner:
                errors[base_key(network_id)] = VxlanIdInUseError(
                    f"network {network.name} is not available here: VXLAN id {network.vni} is in use on this host by {owner}"
                )
        if not self._is_used(network_id):  # it was withdrawn while its sandbox was made
            await self._remove(network_id)
            return
        for key in errors:
            self._fail(network_id).add(key)
        if errors:
            raise errors.get(base_key(network_id)) or next(iter(errors.values()))

    def _fail(self, network_id: str) -> OverlayDelta:
        return self._failed.setdefault(network_id, OverlayDelta())

    def _whole(self, network_id: str) -> OverlayDelta:
        return whole(self._state, network_id, self._attached.get(network_id, {}))

    async def _put_changes(self, overlay: Overlay, delta: OverlayDelta) -> dict[str, CoveyError]:
        backends = {each: self._backends(overlay.id, each) for each in delta.services}
        for service_id, table in backends.items():
            self.drain.set_backends(overlay.id, service_id, dict(table))
        changes = plan_changes(self._state, overlay, self._attached.get(overlay.id, {}), delta, backends)
        return await self._put.put(overlay.id, changes)

    async def _remove(self, network_id: str) -> None:
        """Remove a network's sandbox, unless it was assigned again or a container was attached meanwhile."""
        if await self.overlays.remove(network_id, lambda: not self._is_used(network_id)):
            self._failed.pop(network_id, None)
            self.drain.forget(network_id)
            await self._put.drop(network_id)

    def _is_used(self, network_id: str) -> bool:
        return network_id in self._state.networks or network_id in self._attached

    def _used_networks(self) -> set[str]:
        return {*self._attached, *self._state.networks}

    def _backends(self, network_id: str, service_id: str) -> BackendTable:
        endpoints = self._state.endpoints_of_service(network_id, service_id)
        return service_backends(self._state.service(network_id, service_id), endpoints)


def _resolver_key(container_id: str) -> str:
    return f"container/{container_id}/resolver"
