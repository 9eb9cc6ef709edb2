"""The WireGuard devices of this host: made, told their keys and peers, and removed, with the routes and rules that lead to them.

Invariant: devices are complete before anything is sent to them. Owned by `encryption`, which calls one method at a time.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from functools import partial
from typing import Protocol, TypeVar

import msgspec

from agent.network.namespace_state import HOST
from agent.network.plan import encryption as plan
from agent.network.plan.encryption import PeerKey, TunnelHost, TunnelPeer
from agent.network.reconciler import Reconciler
from agent.network.wireguard import device
from agent.network.wireguard.keys import TunnelKey, TunnelKeys
from covey.errors import UnavailableError

logger = logging.getLogger(__name__)
T = TypeVar("T")
_BASE = "encryption"
_HANDSHAKE_SECONDS = 15.0
"""Two handshakes that cross fail both, and WireGuard tries again after 5 s."""
_MOVE_SECONDS = 6.0
"""Until a new key is sent to although its node, which still has the one before, did not answer: one try again of WireGuard."""
_POLL_SECONDS = 0.01
_MAX_POLL_SECONDS = 0.2


class HostRunner(Protocol):
    """Calls its argument in the host's namespace, and waits for it."""

    def __call__(self, work: Callable[[], T]) -> T: ...


class TunnelPlan(msgspec.Struct, frozen=True, kw_only=True):
    """What the devices are to be: this host's end, its keys, the other nodes by id, and the VXLAN ids of encrypted networks."""

    host: TunnelHost
    keys: TunnelKeys
    peers: Mapping[str, TunnelPeer]
    vnis: Mapping[str, int]


class TunnelDevices:
    """One per daemon. `run_on_host` calls its argument in the host's namespace."""

    def __init__(self, prefix: str, reconciler: Reconciler, run_on_host: HostRunner) -> None:
        self.implementation = ""
        """Who makes the devices; empty before `find_implementation`."""
        self._prefix = prefix
        self._reconciler = reconciler
        self._run_on_host = run_on_host
        self._put: set[str] = set()
        self._told: dict[str, Mapping[str, PeerKey]] = {}
        self._telling = asyncio.Lock()
        self._buffered: set[str] = set()
        """The devices of wireguard-go whose sockets were looked after since they were opened."""

    async def find_implementation(self) -> None:
        """Raises UnavailableError if this host cannot make WireGuard devices."""
        probe = f"{self._prefix}-wgt"
        self.implementation = await self.on_host(lambda: device.find_implementation(probe))

    @property
    def link_kind(self) -> str:
        """The kernel's name for the kind of the devices."""
        return device.LINK_KINDS[self.implementation]

    async def bring(self, wanted: TunnelPlan) -> None:
        """Devices first, then what they are told of peers, then routes."""
        made = False
        if self.implementation == device.WIREGUARD_GO:
            for key in wanted.keys.all:
                if not await self.on_host(partial(device.exists, key.device)):
                    await self.on_host(partial(device.start_process, key.device))
                    self._told.pop(key.device, None)
                    self._buffered.discard(key.device)
                    self._reconciler.distrust(HOST)
                    made = True
        base = {_BASE: plan.base(wanted.host)}
        base |= {f"{_BASE}/network/{one}": plan.network(self._prefix, vni) for one, vni in wanted.vnis.items()}
        nodes = {f"{_BASE}/node/{one}": plan.peer(wanted.host, peer) for one, peer in wanted.peers.items()}
        errors = dict(await self._reconciler.put_many(base))
        if not errors:
            if made:
                await self._reconciler.repair()
            await self._tell_all(wanted)
            gone = dict.fromkeys(self._put - base.keys() - nodes.keys())
            self._put = {*base, *nodes}
            errors = dict(await self._reconciler.put_many({**nodes, **gone}))
        if errors:
            raise next(iter(errors.values()))
        await self._end_unused({key.device for key in wanted.keys.all})

    async def remove(self) -> None:
        """Remove the devices, and all that leads to them."""
        await self._reconciler.put_many(dict.fromkeys(self._put))
        self._put = set()
        await self._end_unused(set())

    async def exist(self, keys: TunnelKeys) -> bool:
        return await self.on_host(lambda: all(device.exists(key.device) for key in keys.all))

    async def shake_hands(
        self, key: TunnelKey, peers: frozenset[str], seconds: float = _HANDSHAKE_SECONDS
    ) -> frozenset[str]:
        """Complete a handshake from the device of a key with each of these peers' keys, so that no later packet waits for one.
        Returns the peers that did not answer in time.
        """
        missing = await self.on_host(lambda: peers - device.read_handshakes(key.device))
        asked = missing
        if not asked:
            return asked
        await self._keep_alive(key.device, asked, 1)
        try:
            poll = _POLL_SECONDS
            async with asyncio.timeout(seconds):
                while missing:
                    await asyncio.sleep(poll)
                    poll = min(2 * poll, _MAX_POLL_SECONDS)
                    missing = await self.on_host(lambda: asked - device.read_handshakes(key.device))
        except TimeoutError:
            pass
        await self._keep_alive(key.device, asked, 0)
        return missing

    async def _keep_alive(self, name: str, peers: frozenset[str], seconds: int) -> None:
        """Set the interval of peers that the device still has: what is set of another would make it one."""
        async with self._telling:
            await self.on_host(lambda: device.set_keepalive(name, peers & device.read_keys(name), seconds))

    async def on_host(self, work: Callable[[], T]) -> T:
        return await asyncio.to_thread(lambda: self._run_on_host(work))

    async def _tell_all(self, wanted: TunnelPlan) -> None:
        """Tell the devices their keys and peers. Addresses that move to a new key of a node that still has the one before do so
        after a handshake.
        """
        known: dict[str, PeerKey] = {}
        for peer in wanted.peers.values():
            known |= plan.peer_keys(peer)
        async with self._telling:
            new = await self.on_host(lambda: self._introduce(wanted.keys, known))
        moving = new & {peer.public_key for peer in wanted.peers.values() if peer.previous_key}
        if moving:
            await self.shake_hands(wanted.keys.sender, moving, _MOVE_SECONDS)
        async with self._telling:
            for key in wanted.keys.all:
                await self.on_host(partial(self._tell, key, known))
                await self._enlarge_buffers(key.device)

    async def _enlarge_buffers(self, name: str) -> None:
        if self.implementation == device.WIREGUARD_GO and name not in self._buffered:
            self._buffered.add(name)
            if not await self.on_host(partial(device.enlarge_buffers, name)):
                logger.info(
                    "the receive buffers of wireguard-go for %s stay small: a busy host loses packets there", name
                )

    def _introduce(self, found: TunnelKeys, wanted: Mapping[str, PeerKey]) -> frozenset[str]:
        """Tell the devices of new keys. Returns those to which addresses are to move on the device that sends."""
        moving: set[str] = set()
        for key in found.all:
            have = self._known(key)
            new = plan.introductions(have, wanted)
            self._tell(key, {**have, **new})
            if key == found.sender:
                moving |= {one for one, introduced in new.items() if introduced.allowed != wanted[one].allowed}
        return frozenset(moving)

    def _tell(self, key: TunnelKey, wanted: Mapping[str, PeerKey]) -> None:
        """Bring the peers of a device to these."""
        have = self._known(key)
        self._told.pop(key.device, None)
        device.set_peers(key.device, list(plan.key_changes(have, wanted)))
        self._told[key.device] = wanted

    def _known(self, key: TunnelKey) -> Mapping[str, PeerKey]:
        """The peers of a device, which is given its key first if it has another."""
        have = self._told.get(key.device)
        if have is None:
            have = device.read_peers(key.device, key)
        if have is None:
            device.set_key(key)
            self._buffered.discard(key.device)  # a new port is a new socket
            have = device.read_peers(key.device, key)
        if have is None:
            raise UnavailableError(f"the WireGuard device {key.device} did not take its key")
        return have

    async def _end_unused(self, used: set[str]) -> None:
        for name in set(plan.device_names(self._prefix)) - used:
            self._told.pop(name, None)
            if self.implementation == device.WIREGUARD_GO:
                await self.on_host(partial(device.end_process, name))
