"""What keeps a node's certificate and trust as the managers want them: roots written down, certificates renewed in time.

Law: level-triggered. What is wanted is compared with what lies on the disk, so a wish that was missed, or an attempt that failed, is made
good later. A root is given up only once the node's own certificate is from the one that is wanted. ``due_ns`` decides and is pure.
"""

import asyncio
import logging
import random
from collections.abc import Callable, Sequence

from agent.identity.identity import Identity, IdentityStore
from agent.identity.renewal import renew, renewal_time_ns
from covey.clock import HOUR, MINUTE, SECOND, Clock, wall_clock
from covey.errors import CoveyError
from covey.objects.base import Struct

log = logging.getLogger(__name__)

_FIRST_PAUSE_SECONDS = 1.0
_LONGEST_PAUSE_SECONDS = 30.0
_CHECK_SECONDS = 3600.0
_SLACK_NS = HOUR + MINUTE
"""Certificates are backdated by an hour, and so live longer than what was asked."""


class Wish(Struct, frozen=True, kw_only=True):
    """What the managers want of a node's certificate. ``roots`` is PEM, ``issuer`` its name and key as DER; ``life_ns`` 0 says that others
    decide how long it lives; who must renew does so within ``spread_ns``.
    """

    roots: bytes = b""
    issuer: tuple[bytes, bytes] = (b"", b"")
    life_ns: int = 0
    spread_ns: int = 0


NO_WISH = Wish()


def due_ns(identity: Identity, wish: Wish, told_at_ns: int, fraction: float) -> int:
    """When to renew: in the course of its life, or soon after it was told that another certificate is wanted."""
    plain_ns = renewal_time_ns(identity, fraction, wish.life_ns)
    if not _is_other(identity, wish) and not _lives_too_long(identity, wish):
        return plain_ns
    return min(plain_ns, told_at_ns + int(wish.spread_ns * fraction))


def roots_to_trust(identity: Identity, wish: Wish) -> bytes:
    """What to write down as trusted: as wanted, and until the certificate is from the wanted issuer what was trusted before as well."""
    if not wish.roots:
        return identity.root
    if not _is_other(identity, wish):
        return wish.roots
    return wish.roots + b"".join(pem for pem in _each(identity.root) if pem not in wish.roots)


def _is_other(identity: Identity, wish: Wish) -> bool:
    return any(wish.issuer) and identity.issuer != wish.issuer


def _lives_too_long(identity: Identity, wish: Wish) -> bool:
    return wish.life_ns > 0 and identity.not_after_ns - identity.not_before_ns > wish.life_ns + _SLACK_NS


def _each(roots: bytes) -> list[bytes]:
    end = b"-----END CERTIFICATE-----\n"
    return [pem + end for pem in roots.split(end) if pem.strip()]


class Keeper:
    """One a node. ``on_changed`` is told whenever the files are others."""

    def __init__(
        self,
        store: IdentityStore,
        managers: Callable[[], Sequence[str]],
        on_changed: Callable[[], None],
        *,
        clock: Clock = wall_clock,
    ) -> None:
        self._store = store
        self._managers = managers
        self._on_changed = on_changed
        self._clock = clock
        self._wish = NO_WISH
        self._told_at_ns = clock()
        self._woken = asyncio.Event()

    def want(self, wish: Wish) -> None:
        """What the managers say now."""
        if wish != self._wish:
            self._wish, self._told_at_ns = wish, self._clock()
            self._woken.set()

    async def run(self) -> None:
        """Until cancelled."""
        fraction, pause = random.random(), _FIRST_PAUSE_SECONDS  # noqa: S311 - spreads load, keeps no secret
        while True:
            self._woken.clear()
            try:
                await self._trust()
                left_ns = due_ns(self._store.require(), self._wish, self._told_at_ns, fraction) - self._clock()
                if left_ns > 0:
                    pause = _FIRST_PAUSE_SECONDS
                    await self._wait(min(left_ns / SECOND, _CHECK_SECONDS))
                    continue
                await renew(self._store, self._managers())
                fraction = random.random()  # noqa: S311 - spreads load, keeps no secret
                self._on_changed()
                await self._trust()
                if due_ns(self._store.require(), self._wish, self._told_at_ns, fraction) > self._clock():
                    continue
            except (CoveyError, OSError) as error:
                log.warning("the certificate was not renewed, trying again in %.0f s: %s", pause, error)
            await self._wait(pause)
            pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)

    async def _trust(self) -> None:
        async with self._store.changing:
            identity = self._store.require()
            roots = roots_to_trust(identity, self._wish)
            if roots == identity.root:
                return
            await asyncio.to_thread(self._store.trust, roots)
        log.info("%d root certificates are trusted now", len(_each(roots)))
        self._on_changed()

    async def _wait(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._woken.wait()
        except TimeoutError:
            pass
