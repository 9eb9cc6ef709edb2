"""Watch over the host's own firewall: finds forward chains that drop containers' packets, and keeps our accept rules in them if allowed.

Invariant: without the operator's option no rule of others is touched; rules that a process with the option left are removed.
A change by others in nftables is noticed by the kernel's notifications, in iptables-legacy by a look once a second.

Owned by `driver`. What blocks runs on a thread.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from functools import partial

from agent.network import managed_firewall, xtables
from agent.network.firewall import ForwardChain, found_chains, is_own_table, warning_text
from agent.network.kernel.monitor import NftMonitor
from agent.network.netns import Namespace
from covey.errors import CoveyError

logger = logging.getLogger(__name__)
_LOOK_SECONDS = 1.0
_SETTLE_SECONDS = 0.1
"""A reload of a firewall is several transactions; the check after them sees them all."""


class FirewallWatch:
    """`prefix` begins the names of the daemon's devices; `is_managed` says whether the operator allows rules of ours in foreign chains."""

    def __init__(self, prefix: str, is_managed: Callable[[], bool]) -> None:
        self.chains: tuple[ForwardChain, ...] = ()
        """The chains that drop containers' packets, as of the last check."""
        self._prefix = prefix
        self._is_managed = is_managed
        self._was_managed: bool | None = None
        self._failure = ""
        self._host: Namespace | None = None
        self._monitor: NftMonitor | None = None
        self._changed = asyncio.Event()
        self._lock = asyncio.Lock()

    @property
    def warnings(self) -> tuple[str, ...]:
        """Warnings for users, in the words of `docker info`."""
        failed = (f"WARNING: the host's firewall cannot be managed: {self._failure}",) if self._failure else ()
        return (*failed, *(warning_text(self._prefix, chain) for chain in self.chains))

    async def start(self, host: Namespace, spawn: Callable[[Coroutine[None, None, None], str], object]) -> None:
        """Check once, then go on until the spawned task is cancelled."""
        self._host = host
        try:
            self._monitor = await asyncio.to_thread(host.run, partial(NftMonitor, "", self._is_foreign))
        except OSError as error:
            logger.debug("changes of the host's firewall are noticed by a look alone: %s", error)
        if self._monitor is not None:
            asyncio.get_running_loop().add_reader(self._monitor.fileno(), self._read_monitor)
        await self.check()
        spawn(self._watch(), "watch over the host's firewall")

    def close(self) -> None:
        """Stop listening. Rules stay: containers run on."""
        if self._monitor is not None:
            asyncio.get_running_loop().remove_reader(self._monitor.fileno())
            self._monitor.close()
            self._monitor = None
        self._host = None

    async def check(self) -> tuple[ForwardChain, ...]:
        """Bring our rules to what is wanted, and return the chains that drop all the same."""
        async with self._lock:
            if (host := self._host) is None:
                return self.chains
            before = self.warnings
            wanted = self._is_managed()
            if wanted or self._was_managed is not False:
                await self._manage(host, wanted=wanted)
            try:
                self.chains = await asyncio.to_thread(found_chains, host, self._prefix)
            except (CoveyError, OSError) as error:
                logger.debug("the host's firewall could not be checked: %s", error)
        for text in self.warnings:
            if text not in before:
                logger.warning("%s", text.removeprefix("WARNING: "))
        return self.chains

    async def _manage(self, host: Namespace, *, wanted: bool) -> None:
        try:
            changed = await asyncio.to_thread(managed_firewall.apply, host, self._prefix, wanted=wanted)
        except (CoveyError, OSError) as error:
            self._failure = str(error)
            return
        self._failure, self._was_managed = "", wanted
        for chain in changed:
            verb = (
                "put the accept rules for containers into" if wanted else "removed the accept rules for containers from"
            )
            logger.info("%s the host's firewall chain %s", verb, chain)

    async def _watch(self) -> None:
        while True:
            try:
                async with asyncio.timeout(_LOOK_SECONDS):
                    await self._changed.wait()
                await asyncio.sleep(_SETTLE_SECONDS)
            except TimeoutError:
                if not await self._needs_look():
                    continue
            self._changed.clear()
            await self.check()

    async def _needs_look(self) -> bool:
        """Whether anything may have changed of which the kernel does not tell."""
        if self._is_managed() is not self._was_managed or self._failure or self._monitor is None:
            return True
        host = self._host
        return host is not None and await asyncio.to_thread(
            host.run, lambda: any(xtables.is_loaded(family) for family in ("ip", "ip6"))
        )

    def _read_monitor(self) -> None:
        if self._monitor is not None and self._monitor.read():
            self._changed.set()

    def _is_foreign(self, table: str) -> bool:
        return not is_own_table(table)
