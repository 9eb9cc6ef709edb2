"""The object store of a manager: views to read, transactions to write, watches to follow.

Invariant: the log is the truth. A transaction is made on the latest committed view and takes effect when its entry is applied, the same on
every replica. Pending transactions run side by side unless one reads or changes what another changes. Then the later one waits and runs
again, so an ``apply`` function must be repeatable and must act on nothing but its ``Tx``.
Retries: only conflicts between transactions are retried here. Errors of the consensus go to the caller; see docs/design/store.md.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import msgspec

from covey.clock import Clock, wall_clock
from covey.errors import (
    AlreadyExistsError,
    ConflictError,
    CoveyError,
    DeadlineError,
    NotFoundError,
    StaleVersionError,
    TooLargeError,
)
from covey.objects import Struct
from manager.store import applier, log, snapshot
from manager.store.author import current_author
from manager.store.commit import Change
from manager.store.consensus import Consensus, Member, NotLeaderError, RefusedError, StateMachine
from manager.store.pending import PendingTransactions, wait_done
from manager.store.schema import BY_KIND
from manager.store.table import Touch, touched
from manager.store.view import MAX_CHANGES, Tx, View
from manager.store.watch import DEFAULT_LIMIT, Watch

T = TypeVar("T")
Operation = Callable[[Tx], object]

MAX_BYTES = (3 << 19) - (64 << 10)
"""Size limit of an encoded transaction: etcd accepts requests of 1.5 MiB, and keys and encryption need some of it."""

_MAX_ATTEMPTS = 4
"""How often a transaction gives way to conflicting ones before it asks for the store alone, and how often it runs then."""

_STALE = (StaleVersionError, NotFoundError, AlreadyExistsError, ConflictError)


class Refusal(msgspec.Struct, frozen=True):
    """An operation of a batch whose objects have changed since it was planned."""

    operation: Operation
    error: CoveyError


class Store:
    """One per manager process. ``connect`` makes the consensus for the store's state machine, as in ``Store(MemoryConsensus)``."""

    def __init__(self, connect: Callable[[StateMachine], Consensus], clock: Clock = wall_clock) -> None:
        self._clock = clock
        self._view = View.empty()
        self._watches: list[Watch] = []
        self._pending = PendingTransactions()
        self.consensus = connect(_Machine(self))

    def view(self) -> View:
        """The latest applied state. On a follower it may be slightly old."""
        return self._view

    async def update(self, apply: Callable[[Tx], T]) -> T:
        """Runs ``apply`` on a transaction, and again after a conflict. Returns its result once it is committed and applied here.

        Raises:
            OutcomeUnknownError: leadership was lost meanwhile, or no majority answered in time. After every other error nothing changed:
            NotLeaderError, UnavailableError; TooLargeError: over 126 changes or 1.4 MiB; errors of ``apply``.
        """
        for _ in range(_MAX_ATTEMPTS):
            await self._pending.wait_admitted()
            done = await self._attempt(apply)
            if done is not None:
                return done[0]
        async with self._pending.exclusive():
            for _ in range(_MAX_ATTEMPTS):
                done = await self._attempt(apply)
                if done is not None:
                    return done[0]
        raise StaleVersionError(
            "other writes changed the same objects again and again; read the objects again and repeat the change"
        )

    async def batch(self, operations: Iterable[Operation]) -> tuple[Refusal, ...]:
        """Runs many operations in as few transactions as fit; an operation is never split.

        An operation that raises StaleVersionError, NotFoundError, AlreadyExistsError or ConflictError is skipped and
        returned; the others continue. Any other error ends the batch. Earlier transactions stay committed.
        """
        waiting = deque(operations)
        refused: list[Refusal] = []
        size = MAX_CHANGES
        while waiting:
            chunk = [waiting[i] for i in range(min(size, len(waiting)))]
            try:
                taken, refusals = await self.update(lambda tx, chunk=chunk: _run(tx, chunk))  # type: ignore[misc]
            except TooLargeError:
                if len(chunk) == 1:
                    raise
                size = len(chunk) // 2
                continue
            size = MAX_CHANGES
            refused += refusals
            for _ in range(taken):
                waiting.popleft()
        return tuple(refused)

    @contextmanager
    def watch(
        self, *, limit: int = DEFAULT_LIMIT, ignored: frozenset[type[Struct]] = frozenset()
    ) -> Iterator[tuple[View, Watch]]:
        """A view and every later commit. The watch raises LaggedError when more than ``limit`` commits are unread. Commits
        that change only objects of the ``ignored`` kinds are left out.
        """
        watch = Watch(limit, ignored)
        self._watches.append(watch)
        try:
            yield self._view, watch
        finally:
            self._watches.remove(watch)

    async def _attempt(self, apply: Callable[[Tx], T]) -> tuple[T] | None:
        """The result in a tuple, or None after a conflict with a pending transaction."""
        leadership = self.consensus.leadership
        if not leadership.is_leader:
            raise NotLeaderError(leadership.leader_addr)
        self._pending.enter_term(leadership.term)
        tx = Tx(self._view)
        result = apply(tx)
        changes = tx.changes
        conflict = self._pending.conflict(tx.reads)
        if conflict is not None:  # also without changes: the pending one may change what was read
            await wait_done(conflict)
            return None
        if not changes:
            return (result,)
        writes = _touches(changes)
        return (result,) if await self._propose(changes, writes) else None

    async def _propose(self, changes: Sequence[Change], writes: set[Touch]) -> bool:
        """Whether the transaction took effect."""
        request_id = secrets.randbits(63) + 1
        data = log.encode(request_id, changes, self._clock(), current_author())
        if len(data) > MAX_BYTES:
            raise TooLargeError(f"a transaction of {len(data)} bytes exceeds the limit of {MAX_BYTES} bytes; split it")
        pending = self._pending.begin(request_id, writes)
        try:
            await self.consensus.propose(data)
        except (DeadlineError, asyncio.CancelledError):
            raise  # it stays pending until its outcome is known: it may still be committed
        except RefusedError:
            self._pending.end(request_id, accepted=False)
        except BaseException:
            self._pending.end(request_id, accepted=None)
            raise
        return pending.accepted is True

    def _apply(self, index: int, data: bytes) -> None:
        proposal = log.decode(data)
        applied = applier.apply(self._view, index, proposal)
        if applied is not None:
            self._view, commit = applied
            for watch in self._watches:
                watch.push(commit)
        self._pending.end(proposal.request_id, accepted=applied is not None)

    def _install(self, view: View) -> None:
        self._view = view
        for watch in self._watches:
            watch.invalidate("the store was replaced by a snapshot of the leader; start again from a new view")


class _Machine(StateMachine):
    """The store as a state machine of the consensus."""

    __slots__ = ("_store",)

    def __init__(self, store: Store) -> None:
        self._store = store

    def apply(self, index: int, data: bytes) -> None:
        self._store._apply(index, data)

    def dropped(self, request_id: int) -> None:
        self._store._pending.end(request_id, accepted=None)

    def snapshot(self, members: tuple[Member, ...]) -> Callable[[], bytes]:
        view = self._store.view()
        return lambda: snapshot.encode(view, members)

    def decode(self, index: int, data: bytes) -> Callable[[], tuple[Member, ...]]:
        view, members = snapshot.decode(index, data)

        def install() -> tuple[Member, ...]:
            self._store._install(view)
            return members

        return install


def _touches(changes: Sequence[Change]) -> set[Touch]:
    touches: set[Touch] = set()
    for change in changes:
        item = change.item
        touches |= touched(BY_KIND[type(item)], item.id, change.before, change.after)
    return touches


def _run(tx: Tx, operations: Sequence[Operation]) -> tuple[int, list[Refusal]]:
    """Runs operations until the transaction is full. Returns how many were handled, and the refused ones."""
    refused: list[Refusal] = []
    for number, operation in enumerate(operations):
        savepoint = tx.savepoint()
        try:
            operation(tx)
        except TooLargeError:
            if not savepoint.changes:
                raise
            tx.roll_back(savepoint)
            return number, refused
        except _STALE as error:
            tx.roll_back(savepoint)
            refused.append(Refusal(operation, error))
    return len(operations), refused
