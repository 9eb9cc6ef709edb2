"""Encryption of this host: one WireGuard device while it has encrypted networks, two while its key is rotated.

Invariant: a key is announced while its device already receives, and used for sending only later; the key before is received for as long
again. So a rotation loses no packet. Invariant: nothing is sent to a key that the managers do not name.

Owned by `driver`. The process of wireguard-go outlives the daemon, which finds its device by its name and its key in the key file.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Protocol, TypeVar

import msgspec

from agent.background_tasks import BackgroundTasks
from agent.network.model import NetworkChanges
from agent.network.namespace_state import HOST
from agent.network.plan import encryption as plan
from agent.network.plan.encryption import PeerKey, TunnelDevice, TunnelHost, TunnelPeer
from agent.network.reconciler import Reconciler
from agent.network.wireguard import device, keys
from agent.network.wireguard.keys import TunnelKeys
from agent.network.wireguard.tunnel_state import TunnelState
from covey.errors import CoveyError, UnavailableError
from covey.objects.node import WireGuardDescription

logger = logging.getLogger(__name__)
T = TypeVar("T")
_BASE = "encryption"
_CHECK_SECONDS = 2.0
_RETRY_SECONDS = 10.0


class RotationTimes(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds between rotations, from a node's departure to the next one, and from the announcement of a key to its use."""

    period: float = 12 * 3600.0
    after_departure: float = 30.0
    announce: float = 60.0


class Underlay(msgspec.Struct, frozen=True, kw_only=True):
    """This host's address, the MTU of its WireGuard devices, and the port of VXLAN."""

    address: str
    mtu: int
    vxlan_port: int


class HostRunner(Protocol):
    """Calls its argument in the host's namespace, and waits for it."""

    def __call__(self, work: Callable[[], T]) -> T: ...


class Encryption:
    """One per daemon. `run_on_host` calls its argument in the host's namespace."""

    def __init__(
        self,
        prefix: str,
        folder: Path,
        reconciler: Reconciler,
        run_on_host: HostRunner,
        times: RotationTimes | None = None,
    ) -> None:
        self.times = times or RotationTimes()
        self.on_announcement: Callable[[], None] = lambda: None
        """Called when `description` has changed."""
        self.refusal = ""
        """Why this host cannot encrypt; empty if it can."""
        self._prefix = prefix
        self._path = folder / "keys.json"
        self._reconciler = reconciler
        self._run_on_host = run_on_host
        self._background = BackgroundTasks("encryption")
        self._implementation = ""
        self._keys: TunnelKeys | None = None
        self._state = TunnelState()
        self._underlay: Underlay | None = None
        self._put: set[str] = set()
        self._told: dict[str, Mapping[str, PeerKey]] = {}
        self._settled: object = None
        self._lock = asyncio.Lock()
        self._departed = asyncio.Event()
        self._applied = asyncio.Event()

    async def start(self) -> None:
        """Find who implements WireGuard here, and the keys of an earlier process."""
        try:
            probe = f"{self._prefix}-wgt"
            self._implementation = await self._on_host(lambda: device.find_implementation(probe))
            self._keys = await asyncio.to_thread(keys.load, self._path)
            if self._keys is None:
                self._keys = await self._on_host(self._first_keys)
        except (CoveyError, OSError) as error:
            self.refusal = str(error)
            logger.info("this host cannot take part in encrypted networks: %s", error)
            return
        await self._background.open()
        self._background.spawn(self._rotate_keys(), "rotation of WireGuard keys")
        self._background.spawn(self._check_devices(), "check of WireGuard devices")

    async def close(self) -> None:
        """Stop. Devices and processes stay, and the next daemon adopts them."""
        if not self.refusal:
            await self._background.close()

    @property
    def description(self) -> WireGuardDescription | None:
        """What the managers tell others of this host; None if it cannot encrypt."""
        if self._keys is None:
            return None
        previous = self._keys.previous
        return WireGuardDescription(
            public_key=self._keys.present.public_key,
            port=self._keys.present.port,
            implementation=self._implementation,
            previous_public_key=previous.public_key if previous else "",
        )

    @property
    def has_tunnels(self) -> bool:
        """Whether this host is on encrypted networks; without any, the underlay's MTU does not matter."""
        return bool(self._state.vnis)

    async def apply(self, changes: NetworkChanges, underlay: Underlay) -> None:
        """Take over changes of the cluster and bring the tunnels to them.

        Raises:
            UnavailableError, UnsupportedError: a device could not be set up. The next call tries again.
        """
        before = self._state.peers(underlay.address)
        self._state.apply(changes)
        self._underlay = underlay
        self._applied.set()
        if before.keys() - self._state.peers(underlay.address).keys():
            self._departed.set()
        await self._settle()

    def through_tunnels(self, changes: NetworkChanges, host: str) -> NetworkChanges:
        """The changes with the endpoints of encrypted networks as the tunnels reach them."""
        return self._state.through_tunnels(changes, host)

    async def remove_everything(self) -> None:
        """Forget the cluster's networks, and remove the devices."""
        self._state = TunnelState()
        await self._settle()

    async def rotate(self) -> None:
        """Make a new key, with its device, and announce it. It is used for sending later."""
        present = self._required_keys().present
        name = next(one for one in plan.device_names(self._prefix) if one != present.device)
        port = await self._on_host(lambda: device.free_port(present.port))
        new = await asyncio.to_thread(keys.new_key, name, port)
        uses_tunnels = bool(self._state.vnis)
        await self._set_keys(
            TunnelKeys(
                present=new,
                previous=present if uses_tunnels else None,
                sends_new=not uses_tunnels,
                made_at=time.time(),
            )
        )
        self.on_announcement()

    async def finish_rotation(self) -> None:
        """Send with the new key once the managers announced it, and later forget the one before."""
        if self._required_keys().previous is None:
            return
        if not self._required_keys().sends_new:
            await self._announced()
            await asyncio.sleep(_spread(self.times.announce))
            await self._set_keys(msgspec.structs.replace(self._required_keys(), sends_new=True))
        await asyncio.sleep(_spread(self.times.announce))
        await self._set_keys(msgspec.structs.replace(self._required_keys(), previous=None))
        self.on_announcement()

    async def _settle(self) -> None:
        """Bring devices, peers, routes and rules to the state, if it has changed since the last time."""
        if self._keys is None:
            return
        async with self._lock:
            wanted = self._wanted()
            if wanted == self._settled:
                return
            self._settled = None
            if wanted is None:
                await self._remove_devices()
            else:
                await self._bring(*wanted)
            self._settled = wanted

    def _wanted(self) -> tuple[TunnelHost, TunnelKeys, dict[str, TunnelPeer], dict[str, int]] | None:
        if not self._state.vnis or self._underlay is None or not self._underlay.address:
            return None
        found = self._required_keys()
        host = TunnelHost(
            prefix=self._prefix,
            kind=device.LINK_KINDS[self._implementation],
            mtu=self._underlay.mtu,
            devices=tuple(TunnelDevice(name=key.device, public_key=key.public_key) for key in found.all),
            sender=found.sender.device,
            vxlan_port=self._underlay.vxlan_port,
            node_id=self._state.own_id(self._underlay.address),
        )
        return host, found, self._state.peers(self._underlay.address), dict(self._state.vnis)

    async def _bring(
        self, host: TunnelHost, found: TunnelKeys, peers: Mapping[str, TunnelPeer], vnis: Mapping[str, int]
    ) -> None:
        """Devices first, then what they are told of peers, then routes: each is complete before anything is sent to it."""
        made = False
        if self._implementation == device.WIREGUARD_GO:
            for key in found.all:
                if not await self._on_host(partial(device.exists, key.device)):
                    await self._on_host(partial(device.start_process, key.device))
                    self._told.pop(key.device, None)
                    self._reconciler.distrust(HOST)
                    made = True
        base = {_BASE: plan.base(host)}
        base |= {f"{_BASE}/network/{one}": plan.network(self._prefix, vni) for one, vni in vnis.items()}
        nodes = {f"{_BASE}/node/{one}": plan.peer(host, peer) for one, peer in peers.items()}
        errors = dict(await self._reconciler.put_many(base))
        if not errors:
            if made:
                await self._reconciler.repair()
            await self._on_host(lambda: self._tell(found, peers))
            gone = dict.fromkeys(self._put - base.keys() - nodes.keys())
            self._put = {*base, *nodes}
            errors = dict(await self._reconciler.put_many({**nodes, **gone}))
        if errors:
            raise next(iter(errors.values()))
        await self._end_unused({key.device for key in found.all})

    def _tell(self, found: TunnelKeys, peers: Mapping[str, TunnelPeer]) -> None:
        """Tell the devices their keys and peers."""
        wanted: dict[str, PeerKey] = {}
        for peer in peers.values():
            wanted |= plan.peer_keys(peer)
        for key in found.all:
            have = self._told.get(key.device)
            if have is None:
                have = device.read_peers(key.device, key)
            if have is None:
                device.set_key(key)
                have = device.read_peers(key.device, key)
            if have is None:
                raise UnavailableError(f"the WireGuard device {key.device} did not take its key")
            self._told.pop(key.device, None)
            device.set_peers(key.device, list(plan.key_changes(have, wanted)))
            self._told[key.device] = wanted

    async def _remove_devices(self) -> None:
        await self._reconciler.put_many(dict.fromkeys(self._put))
        self._put = set()
        await self._end_unused(set())

    async def _end_unused(self, used: set[str]) -> None:
        for name in set(plan.device_names(self._prefix)) - used:
            self._told.pop(name, None)
            if self._implementation == device.WIREGUARD_GO:
                await self._on_host(partial(device.end_process, name))

    async def _rotate_keys(self) -> None:
        while True:
            await self._attempt(self.finish_rotation)
            remaining = self._required_keys().made_at + _spread(self.times.period) - time.time()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(remaining, 0)):
                    await self._departed.wait()
                    await asyncio.sleep(_spread(self.times.after_departure))
            self._departed.clear()
            await self._attempt(self.rotate)

    async def _attempt(self, step: Callable[[], Awaitable[None]]) -> None:
        """Repeat a step until it succeeds."""
        while True:
            try:
                return await step()
            except (CoveyError, OSError) as error:
                logger.warning("WireGuard keys are rotated later: %s", error)
            await asyncio.sleep(_RETRY_SECONDS)

    async def _check_devices(self) -> None:
        """Start processes of wireguard-go again that ended, and repeat what failed."""
        while True:
            await asyncio.sleep(_CHECK_SECONDS)
            if self._settled is not None and not await self._on_host(self._devices_exist):
                logger.warning("a WireGuard device of this host is gone; it is made again")
                self._settled = None
            try:
                await self._settle()
            except (CoveyError, OSError) as error:
                logger.warning("encryption between hosts: %s", error)

    def _devices_exist(self) -> bool:
        return all(device.exists(key.device) for key in self._required_keys().all)

    async def _announced(self) -> None:
        """Wait until the managers tell others of the present key, or no network needs it."""
        while not self._is_announced():
            self._applied.clear()
            await self._applied.wait()

    def _is_announced(self) -> bool:
        own = self._state.own_key(self._underlay.address) if self._underlay is not None else ""
        return not self._state.vnis or own == self._required_keys().present.public_key

    async def _set_keys(self, found: TunnelKeys) -> None:
        await asyncio.to_thread(keys.save, self._path, found)
        self._keys = found
        await self._settle()

    def _first_keys(self) -> TunnelKeys:
        key = keys.new_key(plan.device_names(self._prefix)[0], device.free_port())
        found = TunnelKeys(present=key, made_at=time.time())
        keys.save(self._path, found)
        return found

    def _required_keys(self) -> TunnelKeys:
        if self._keys is None:
            raise UnavailableError(self.refusal or "the encryption of this host is not started")
        return self._keys

    async def _on_host(self, work: Callable[[], T]) -> T:
        return await asyncio.to_thread(lambda: self._run_on_host(work))


def _spread(seconds: float) -> float:
    """Nodes take different times: two that begin to use new keys for each other at once would both wait for a second handshake."""
    return seconds * random.uniform(0.75, 1.25)  # noqa: S311 - not for security
