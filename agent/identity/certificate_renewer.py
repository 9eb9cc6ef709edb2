"""What keeps a node's certificate and trust as the managers want them: roots written down, certificates renewed in time.

Law: level-triggered. What is wanted is compared with what lies on the disk, so a wish that was missed, or an attempt that failed, is made
good later. A root is given up only once the node's own certificate is from the one that is wanted. ``due_ns`` decides and is pure.
"""

import asyncio
import logging
import random
from collections.abc import Callable, Sequence

from agent.identity.node_identity import IdentityStore, NodeIdentity
from agent.identity.renewal import renew_certificate, renewal_time_ns
from covey.clock import HOUR, MINUTE, SECOND, Clock, wall_clock
from covey.errors import CoveyError
from covey.objects.base import Struct

log = logging.getLogger(__name__)

_FIRST_PAUSE_SECONDS = 1.0
_LONGEST_PAUSE_SECONDS = 30.0
_CHECK_SECONDS = 3600.0
_SLACK_NS = HOUR + MINUTE
"""Certificates are backdated by an hour, and so live longer than what was asked."""


class DesiredCertificate(Struct, frozen=True, kw_only=True):
    """What the managers want of a node's certificate. ``roots`` is PEM, ``issuer`` its name and key as DER; ``life_ns`` 0 says that others
    decide how long it lives; who must renew does so within ``spread_ns``.
    """

    roots: bytes = b""
    issuer: tuple[bytes, bytes] = (b"", b"")
    validity_ns: int = 0
    spread_ns: int = 0


NO_DESIRED_CERTIFICATE = DesiredCertificate()


def renewal_due_ns(identity: NodeIdentity, desired: DesiredCertificate, desired_since_ns: int, fraction: float) -> int:
    """When to renew: in the course of its life, or soon after it was told that another certificate is wanted."""
    plain_ns = renewal_time_ns(identity, fraction, desired.validity_ns)
    if not _has_other_issuer(identity, desired) and not _is_valid_too_long(identity, desired):
        return plain_ns
    return min(plain_ns, desired_since_ns + int(desired.spread_ns * fraction))


def roots_to_trust(identity: NodeIdentity, desired: DesiredCertificate) -> bytes:
    """What to write down as trusted: as wanted, and until the certificate is from the wanted issuer what was trusted before as well."""
    if not desired.roots:
        return identity.root
    if not _has_other_issuer(identity, desired):
        return desired.roots
    return desired.roots + b"".join(pem for pem in _split_pem(identity.root) if pem not in desired.roots)


def _has_other_issuer(identity: NodeIdentity, desired: DesiredCertificate) -> bool:
    return any(desired.issuer) and identity.issuer != desired.issuer


def _is_valid_too_long(identity: NodeIdentity, desired: DesiredCertificate) -> bool:
    return desired.validity_ns > 0 and identity.not_after_ns - identity.not_before_ns > desired.validity_ns + _SLACK_NS


def _split_pem(roots: bytes) -> list[bytes]:
    end = b"-----END CERTIFICATE-----\n"
    return [pem + end for pem in roots.split(end) if pem.strip()]


class CertificateRenewer:
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
        self._desired = NO_DESIRED_CERTIFICATE
        self._desired_since_ns = clock()
        self._desired_changed = asyncio.Event()

    def set_desired(self, desired: DesiredCertificate) -> None:
        """What the managers say now."""
        if desired != self._desired:
            self._desired, self._desired_since_ns = desired, self._clock()
            self._desired_changed.set()

    async def run(self) -> None:
        """Until cancelled."""
        fraction, pause = random.random(), _FIRST_PAUSE_SECONDS  # noqa: S311 - spreads load, keeps no secret
        while True:
            self._desired_changed.clear()
            try:
                await self._trust()
                left_ns = (
                    renewal_due_ns(self._store.require(), self._desired, self._desired_since_ns, fraction)
                    - self._clock()
                )
                if left_ns > 0:
                    pause = _FIRST_PAUSE_SECONDS
                    await self._wait(min(left_ns / SECOND, _CHECK_SECONDS))
                    continue
                await renew_certificate(self._store, self._managers())
                fraction = random.random()  # noqa: S311 - spreads load, keeps no secret
                self._on_changed()
                await self._trust()
                if (
                    renewal_due_ns(self._store.require(), self._desired, self._desired_since_ns, fraction)
                    > self._clock()
                ):
                    continue
            except (CoveyError, OSError) as error:
                log.warning("the certificate was not renewed, trying again in %.0f s: %s", pause, error)
            await self._wait(pause)
            pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)

    async def _trust(self) -> None:
        async with self._store.lock:
            identity = self._store.require()
            roots = roots_to_trust(identity, self._desired)
            if roots == identity.root:
                return
            await asyncio.to_thread(self._store.save_roots, roots)
        log.info("%d root certificates are trusted now", len(_split_pem(roots)))
        self._on_changed()

    async def _wait(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._desired_changed.wait()
        except TimeoutError:
            pass
