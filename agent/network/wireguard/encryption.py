"""Encryption of this host: one WireGuard device while it has encrypted networks, two while its key is rotated.

Invariant: nothing is sent to a key that the managers do not name.

Owned by `driver`. The process of wireguard-go outlives the daemon, which finds its device by its name and its key in the key file.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from agent.background_tasks import BackgroundTasks
from agent.network.model import NetworkChanges
from agent.network.plan import encryption as plan
from agent.network.plan.encryption import TunnelDevice, TunnelHost
from agent.network.reconciler import Reconciler
from agent.network.wireguard import device, keys
from agent.network.wireguard.keys import TunnelKeys
from agent.network.wireguard.rotation import KeyRotation, RotationTimes
from agent.network.wireguard.tunnel_devices import HostRunner, TunnelDevices, TunnelPlan
from agent.network.wireguard.tunnel_state import TunnelState
from covey.errors import CoveyError, UnavailableError
from covey.objects.node import WireGuardDescription

logger = logging.getLogger(__name__)
_CHECK_SECONDS = 2.0


class Underlay(msgspec.Struct, frozen=True, kw_only=True):
    """This host's address, the MTU of its WireGuard devices, and the port of VXLAN."""

    address: str
    mtu: int
    vxlan_port: int


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
        self.on_announcement: Callable[[], None] = lambda: None
        """Called when `description` has changed."""
        self.refusal = ""
        """Why this host cannot encrypt; empty if it can."""
        self.rotation = KeyRotation(self, times or RotationTimes(), self._announce)
        self._prefix = prefix
        self._path = folder / "keys.json"
        self._devices = TunnelDevices(prefix, reconciler, run_on_host)
        self._background = BackgroundTasks("encryption")
        self._keys: TunnelKeys | None = None
        self._ready: TunnelKeys | None = None
        self._state = TunnelState()
        self._underlay: Underlay | None = None
        self._settled: object = None
        self._lock = asyncio.Lock()
        self._applied = asyncio.Event()

    async def start(self) -> None:
        """Find who implements WireGuard here, and the keys of an earlier process."""
        try:
            await self._devices.find_implementation()
            self._keys = await asyncio.to_thread(keys.load, self._path)
            if self._keys is None:
                self._keys = await self._devices.on_host(self._first_keys)
        except (CoveyError, OSError) as error:
            self.refusal = str(error)
            logger.info("this host cannot take part in encrypted networks: %s", error)
            return
        self._ready = self._keys
        await self._background.open()
        self._background.spawn(self.rotation.run(), "rotation of WireGuard keys")
        self._background.spawn(self._check_devices(), "check of WireGuard devices")

    async def close(self) -> None:
        """Stop. Devices and processes stay, and the next daemon adopts them."""
        if not self.refusal:
            await self._background.close()

    @property
    def keys(self) -> TunnelKeys:
        """Raises UnavailableError if this host cannot encrypt."""
        if self._keys is None:
            raise UnavailableError(self.refusal or "the encryption of this host is not started")
        return self._keys

    @property
    def description(self) -> WireGuardDescription | None:
        """What the managers tell others of this host: keys with which it receives. None if it cannot encrypt."""
        if self._ready is None:
            return None
        previous = self._ready.previous
        return WireGuardDescription(
            public_key=self._ready.present.public_key,
            port=self._ready.present.port,
            implementation=self._devices.implementation,
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
            self.rotation.node_left()
        await self._settle()

    def through_tunnels(self, changes: NetworkChanges, host: str) -> NetworkChanges:
        """The changes with the endpoints of encrypted networks as the tunnels reach them."""
        return self._state.through_tunnels(changes, host)

    async def remove_everything(self) -> None:
        """Forget the cluster's networks, and remove the devices."""
        self._state = TunnelState()
        await self._settle()

    async def with_new_key(self, found: TunnelKeys) -> TunnelKeys:
        """The keys with a new one, which gets the other device. Without tunnels it replaces the present one at once."""
        name = next(one for one in plan.device_names(self._prefix) if one != found.present.device)
        port = await self._devices.on_host(lambda: device.free_port(found.present.port))
        new = await asyncio.to_thread(keys.new_key, name, port)
        uses_tunnels = self.has_tunnels
        return TunnelKeys(
            present=new,
            previous=found.present if uses_tunnels else None,
            sends_new=not uses_tunnels,
            made_at=time.time(),
        )

    async def set_keys(self, found: TunnelKeys) -> None:
        """Keep keys, and bring the tunnels to them."""
        await asyncio.to_thread(keys.save, self._path, found)
        self._keys = found
        await self._settle()

    async def announced(self) -> None:
        """Wait until the managers tell others of the present key, or no network needs it."""
        while not self._is_announced():
            self._applied.clear()
            await self._applied.wait()

    async def shake_hands(self) -> None:
        """Complete handshakes of the present key with the other nodes, for a bounded time."""
        if not self.has_tunnels or self._underlay is None:
            return
        peers = frozenset(peer.public_key for peer in self._state.peers(self._underlay.address).values())
        silent = await self._devices.shake_hands(self.keys.present, peers)
        if silent:
            logger.info("%d of %d nodes did not answer to the new WireGuard key in time", len(silent), len(peers))

    def _announce(self) -> None:
        self.on_announcement()

    async def _settle(self) -> None:
        """Bring devices, peers, routes and rules to the state, if it has changed since the last time."""
        if self._keys is None:
            return
        async with self._lock:
            found, wanted = self._keys, self._wanted()
            if wanted != self._settled:
                self._settled = None
                if wanted is None:
                    await self._devices.remove()
                else:
                    await self._devices.bring(wanted)
                self._settled = wanted
            self._ready = found

    def _wanted(self) -> TunnelPlan | None:
        if not self._state.vnis or self._underlay is None or not self._underlay.address:
            return None
        found = self.keys
        host = TunnelHost(
            prefix=self._prefix,
            kind=self._devices.link_kind,
            mtu=self._underlay.mtu,
            devices=tuple(TunnelDevice(name=key.device, public_key=key.public_key) for key in found.all),
            sender=found.sender.device,
            vxlan_port=self._underlay.vxlan_port,
            node_id=self._state.own_id(self._underlay.address),
        )
        peers = self._state.peers(self._underlay.address)
        return TunnelPlan(host=host, keys=found, peers=peers, vnis=dict(self._state.vnis))

    async def _check_devices(self) -> None:
        """Start processes of wireguard-go again that ended, and repeat what failed."""
        while True:
            await asyncio.sleep(_CHECK_SECONDS)
            if self._settled is not None and not await self._devices.exist(self.keys):
                logger.warning("a WireGuard device of this host is gone; it is made again")
                self._settled = None
            try:
                await self._settle()
            except (CoveyError, OSError) as error:
                logger.warning("encryption between hosts: %s", error)

    def _is_announced(self) -> bool:
        own = self._state.own_key(self._underlay.address) if self._underlay is not None else ""
        return not self._state.vnis or own == self.keys.present.public_key

    def _first_keys(self) -> TunnelKeys:
        key = keys.new_key(plan.device_names(self._prefix)[0], device.free_port())
        found = TunnelKeys(present=key, made_at=time.time())
        keys.save(self._path, found)
        return found
