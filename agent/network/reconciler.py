"""Reconciler of a host's network namespaces: keeps what fragments want, and what the kernel holds, the same.

Invariant: a change costs what its fragments cost, whatever else the host runs. Invariant: one pass at a time works on a namespace; all
that changes meanwhile is applied by the next pass together. Invariant: an item that the kernel refuses fails its fragments alone; they
stay wanted and are tried again. Invariant: items that no fragment wants are removed by `drop`, and by `repair` only after `complete`.

Owned by `driver`. Fragments come from the planners in `agent.network.plan`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Coroutine, Iterable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from agent.background_tasks import BackgroundTasks
from agent.network.kernel.monitor import NftMonitor
from agent.network.kernel.namespace_kernel import NamespaceKernel
from agent.network.kernel.nft_tables import NftScratch
from agent.network.kernel.outcome import Outcome
from agent.network.kernel.refusal import place
from agent.network.kernel.target import Target
from agent.network.kernel.threads import KernelThreads
from agent.network.kernel.trace_reading import read_for_trace
from agent.network.namespace_state import HOST, Fragment, Link, VethPeer
from agent.network.namespace_worker import NamespaceWorker
from agent.network.netns import Namespace
from agent.network.plan.diff import Difference
from agent.network.plan.items import Item
from agent.network.plan.wanted import WantedState
from agent.network.self_check import SelfCheck
from agent.network.trace.reading import NamespaceReading
from covey.errors import CoveyError, DeadlineError, UnavailableError

logger = logging.getLogger(__name__)
T = TypeVar("T")

SETTLE_SECONDS = 60.0
CONFIRM_SECONDS = 2.0
_CONTAINERS = 2


class Reconciler:
    """One per daemon. `prefix` begins the names of its tables and marks its devices; `host` is the host's namespace."""

    def __init__(self, prefix: str, host: Callable[[], Namespace]) -> None:
        """Changes nothing before `start`."""
        self.wanted = WantedState()
        self.is_complete = False
        self.prefix = prefix
        self._open_host = host
        self._threads = KernelThreads()
        self._scratch = NftScratch()
        self._workers: dict[str, NamespaceWorker] = {}
        self._background = BackgroundTasks("network namespaces")
        self._self_check = SelfCheck(self)
        self._passes: set[object] = set()
        self._closing: list[tuple[Namespace, set[object]]] = []
        self._settling = 0
        self._settled = 0
        self._quiet = asyncio.Event()

    async def start(self) -> None:
        """Open the host's namespace, and watch its nftables. Nothing is changed yet."""
        await self._background.open()
        self._add(HOST, self._open_host())
        namespace = self._workers[HOST].kernel.target.namespace
        monitor: NftMonitor | None = None
        try:
            monitor = await self._threads.run(namespace, lambda: NftMonitor(self._threads.name, self._is_our_table))
        except OSError as error:
            logger.warning("changes of the host's firewall are noticed by the periodic check alone: %s", error)
        self._self_check.start(monitor, self.spawn)

    async def close(self) -> None:
        """Stop. The kernel keeps what it holds, and the next process takes it over."""
        self._self_check.close()
        await self._background.close()
        await asyncio.to_thread(self._threads.close)
        for worker in self._workers.values():
            worker.kernel.target.namespace.close()
        for namespace, _ in self._closing:
            namespace.close()
        self._workers.clear()
        self._closing.clear()
        await asyncio.to_thread(self._scratch.close)

    def open_namespace(self, key: str, path: Path) -> None:
        """Register a sandbox. What is wanted in it is applied, now and later."""
        self.close_namespace(key)
        self._add(key, Namespace(str(path)))
        for worker in self._workers.values():
            if (worker.key == key and self.wanted.items(key)) or any(
                value.namespace == key for value in self._peers_of_failed_links(worker)
            ):
                worker.request(read=True)

    def close_namespace(self, key: str) -> None:
        """Forget a sandbox that is about to be removed. What is wanted in it stays wanted."""
        worker = self._workers.pop(key, None)
        if worker is not None:
            worker.close()
            self._closing.append((worker.kernel.target.namespace, set(self._passes)))
            self._close_unused()

    def distrust(self, key: str) -> None:
        """Read a namespace before its next change, because another program has made a device there."""
        if key in self._workers:
            self._workers[key].distrust()

    def complete(self) -> None:
        """Declare that all fragments of the previous process were put again, so that what nobody wants may be removed."""
        self.is_complete = True

    async def put(self, key: str, fragment: Fragment) -> None:
        """Want a fragment. Returns once it is applied in all its namespaces.

        Raises:
            ConflictError, InvalidArgumentError: the fragment contradicts another one or itself, and is not wanted.
            UnavailableError, UnsupportedError: the kernel refused a part. The fragment stays wanted and is tried again.
        """
        errors = await self.put_many({key: fragment})
        if key in errors:
            raise errors[key]

    async def drop(self, key: str) -> None:
        """Want a fragment no more, and remove what no other fragment wants."""
        await self.put_many({key: None})

    async def put_many(self, fragments: Mapping[str, Fragment | None]) -> Mapping[str, CoveyError]:
        """Put fragments, or drop those that are None, together. Returns why those failed that did."""
        errors: dict[str, CoveyError] = {}
        touched: dict[str, set[Item]] = {}
        for key in sorted(fragments, key=lambda one: (fragments[one] is not None, one)):
            try:
                changed = self.wanted.replace(key, fragments[key])
            except CoveyError as error:
                errors[key] = error
                continue
            for namespace, items in changed.items():
                touched.setdefault(namespace, set()).update(items)
            for namespace, item in self._failed_items(key):
                touched.setdefault(namespace, set()).add(item)
        self._settling += 1
        self._quiet.clear()
        try:
            async with asyncio.timeout(SETTLE_SECONDS):
                await self._settle(touched)
        except TimeoutError:
            raise DeadlineError(
                f"the kernel did not apply {', '.join(sorted(fragments))[:200]} within {SETTLE_SECONDS:.0f} s; it is still at it"
            ) from None
        finally:
            self._settling -= 1
            self._settled += 1
            if not self._settling:
                self._quiet.set()
        for key, fragment in fragments.items():
            failure = self._failure(key) if fragment is not None and key not in errors else None
            if failure is not None:
                errors[key] = failure
        return errors

    async def verify(self) -> tuple[Difference, ...]:
        """Read all namespaces. Returns how they differ from what is wanted; strays only after `complete`.

        What was being applied meanwhile is looked at again, once it is.
        """
        before = self._settled
        found = await self._check_all(repair=False)
        if found and (self._settling or self._settled != before):
            with suppress(TimeoutError):
                await asyncio.wait_for(self._quiet.wait(), CONFIRM_SECONDS)
            found = await self._check_all(repair=False, only={one.namespace for one in found})
        return found

    async def read(self, keys: Collection[str]) -> dict[str, NamespaceReading]:
        """What the kernel holds in these namespaces, as far as they are open."""
        found: dict[str, NamespaceReading] = {}
        for key in sorted(set(keys) & set(self._workers)):
            kernel = self._workers[key].kernel
            work = partial(read_for_trace, kernel.target, dict(self.wanted.items(key)))
            found[key] = await self.run(kernel, work)
        return found

    def container_addresses(self) -> dict[str, str]:
        """The addresses that containers of this host have, without prefix lengths, with the keys of their namespaces."""
        keys = [key for key in self._workers if _stage(key) == _CONTAINERS]
        return {
            item[2].partition("/")[0]: key for key in keys for item in self.wanted.items(key) if item[0] == "address"
        }

    async def repair(self) -> tuple[Difference, ...]:
        """Read all namespaces and carry out the differences. Returns what they were."""
        return await self._check_all(repair=True)

    async def repair_all(self) -> list[Difference]:
        """As `repair`, but returns only what could be repaired."""
        return self._without_failed(await self.repair())

    async def repair_host(self) -> list[Difference]:
        """Repair the host's namespace alone. Returns what could be repaired."""
        return self._without_failed(await self._workers[HOST].check(repair=True))

    def retry_failures(self) -> None:
        """Settle the namespaces again in which anything was refused."""
        for worker in self._workers.values():
            if worker.failures and worker.is_idle:
                worker.request(read=True)

    async def run(self, kernel: NamespaceKernel, work: Callable[[], T]) -> T:
        """Run a pass of a worker on a kernel thread. A namespace that it may refer to is not closed meanwhile."""
        token = object()
        self._passes.add(token)
        try:
            return await self._threads.run(kernel.target.namespace, work)
        finally:
            self._passes.discard(token)
            for _, passes in self._closing:
                passes.discard(token)
            self._close_unused()

    def spawn(self, work: Coroutine[Any, Any, object], name: str) -> object:
        return self._background.spawn(work, name)

    def passed(self, key: str, outcome: Outcome) -> None:
        """After each pass: see to the veth ends that it made in other namespaces, and those that others must make again."""
        for namespace, device in outcome.made_elsewhere:
            worker = self._workers.get(namespace)
            if worker is not None and ("link", device) in worker.failures:
                worker.request(read=True)
        for device in outcome.orphans:
            maker = self.wanted.maker(key, device)
            worker = self._workers.get(maker[0]) if maker else None
            if maker and worker is not None and worker.is_idle and ("link", maker[1]) not in worker.failures:
                worker.request(remake={maker[1]})

    def _add(self, key: str, namespace: Namespace) -> NamespaceWorker:
        target = Target(key, namespace, self.prefix, self._scratch, self._other)
        self._workers[key] = NamespaceWorker(key, NamespaceKernel(target), self)
        return self._workers[key]

    def _other(self, key: str) -> Namespace | None:
        worker = self._workers.get(key)
        return worker.kernel.target.namespace if worker else None

    async def _settle(self, touched: Mapping[str, set[Item]]) -> None:
        """Settle the namespaces in the order in which devices are made from one in another: host, networks, containers."""
        involved = [key for key in touched if key in self._workers]
        for stage in (0, 1, _CONTAINERS):
            waiting = [
                self._workers[key].request(touched[key])
                for key in involved
                if _stage(key) == stage and key in self._workers
            ]
            await _all(waiting)
        again = [worker for key in involved if (worker := self._workers.get(key)) is not None and not worker.is_idle]
        await _all([worker.request() for worker in again if worker.failures])

    def _failed_items(self, key: str) -> Iterator[tuple[str, Item]]:
        """The items of a fragment that the last pass could not bring about."""
        for namespace, item in self.wanted.fragment_items(key):
            if item in self._failures_in(namespace):
                yield namespace, item

    def _peers_of_failed_links(self, worker: NamespaceWorker) -> Iterator[VethPeer]:
        for value in self.wanted.select(worker.key, set(worker.failures)).values():
            if isinstance(value, Link) and value.peer is not None:
                yield value.peer

    def _failure(self, key: str) -> CoveyError | None:
        """Why a fragment is not applied, if it is not."""
        for namespace, item in self.wanted.fragment_items(key):
            worker = self._workers.get(namespace)
            if worker is None:
                return UnavailableError(f"the network namespace {place(namespace)} is not open, which {key} needs")
            if item in worker.failures:
                return worker.failures[item]
        return None

    async def _check_all(self, *, repair: bool, only: Collection[str] | None = None) -> tuple[Difference, ...]:
        found: list[Difference] = []
        for stage in (0, 1, _CONTAINERS):
            workers = [
                worker
                for key, worker in sorted(self._workers.items())
                if _stage(key) == stage and (only is None or key in only)
            ]
            checks = [
                worker.check(repair=repair) for worker in workers if worker.key == HOST or self.wanted.items(worker.key)
            ]
            for result in await asyncio.gather(*checks):
                found += result
        return tuple(found)

    def _close_unused(self) -> None:
        for namespace, passes in self._closing:
            if not passes:
                namespace.close()
        self._closing = [(namespace, passes) for namespace, passes in self._closing if passes]

    def _is_our_table(self, name: str) -> bool:
        return name.startswith(f"{self.prefix}-")

    def _without_failed(self, found: Iterable[Difference]) -> list[Difference]:
        return [one for one in found if one.item not in self._failures_in(one.namespace)]

    def _failures_in(self, namespace: str) -> Mapping[Item, CoveyError]:
        worker = self._workers.get(namespace)
        return worker.failures if worker is not None else {}


def _stage(key: str) -> int:
    return 0 if key == HOST else 1 if key.startswith("network/") else _CONTAINERS


async def _all(futures: Iterable[asyncio.Future[None]]) -> None:
    for future in futures:
        await asyncio.shield(future)
