"""Certificate renewal: keeps a node's certificate and trusted roots as the managers want them.

Invariant: level-triggered. The desired certificate is compared with the files on disk, so a missed message or a failed
attempt is made up for later. Invariant: the node trusts its old root until its own certificate is from the new one.
`renewal_due_ns` and `roots_to_trust` decide and are pure. Run by `node.membership_session`.
"""

import asyncio
import contextlib
import logging
import random
from collections.abc import Callable, Sequence

from agent.identity.identity_store import IdentityStore
from agent.identity.node_identity import NodeIdentity
from agent.identity.renewal_rpc import renew_certificate, renewal_time_ns
from covey.clock import HOUR, MINUTE, SECOND, Clock, wall_clock
from covey.errors import CoveyError
from covey.objects.base import Struct

log = logging.getLogger(__name__)

_FIRST_RETRY_SECONDS = 1.0
_MAX_RETRY_SECONDS = 30.0
_CHECK_SECONDS = 3600.0
_BACKDATING_NS = HOUR + MINUTE
"""The CA backdates certificates by an hour, so they are valid for longer than requested."""


class DesiredCertificate(Struct, frozen=True, kw_only=True):
    """The certificate that the managers want a node to have.

    `roots` is PEM; `issuer` is the issuer's subject and public key in DER. A `validity_ns` of 0 leaves the validity to
    the issuer (an external CA). Nodes that must renew spread their renewals over `spread_ns`.
    """

    roots: bytes = b""
    issuer: tuple[bytes, bytes] = (b"", b"")
    validity_ns: int = 0
    spread_ns: int = 0


NO_DESIRED_CERTIFICATE = DesiredCertificate()


def renewal_due_ns(identity: NodeIdentity, desired: DesiredCertificate, desired_since_ns: int, fraction: float) -> int:
    """The time of the next renewal: at the usual share of the validity, or soon if another certificate is desired.

    `fraction` in [0, 1) spreads the nodes.
    """
    usual_ns = renewal_time_ns(identity, fraction, desired.validity_ns)
    if not _has_other_issuer(identity, desired) and not _is_valid_too_long(identity, desired):
        return usual_ns
    return min(usual_ns, desired_since_ns + int(desired.spread_ns * fraction))


def roots_to_trust(identity: NodeIdentity, desired: DesiredCertificate) -> bytes:
    """The roots to store: the desired ones, plus the present ones until the certificate has the desired issuer."""
    if not desired.roots:
        return identity.root
    if not _has_other_issuer(identity, desired):
        return desired.roots
    return desired.roots + b"".join(pem for pem in _split_pem(identity.root) if pem not in desired.roots)


def _has_other_issuer(identity: NodeIdentity, desired: DesiredCertificate) -> bool:
    return any(desired.issuer) and identity.issuer != desired.issuer


def _is_valid_too_long(identity: NodeIdentity, desired: DesiredCertificate) -> bool:
    validity_ns = identity.not_after_ns - identity.not_before_ns
    return desired.validity_ns > 0 and validity_ns > desired.validity_ns + _BACKDATING_NS


def _split_pem(roots: bytes) -> list[bytes]:
    end = b"-----END CERTIFICATE-----\n"
    return [pem + end for pem in roots.split(end) if pem.strip()]


class CertificateRenewer:
    """One per node. Calls `on_changed` after it has replaced files."""

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
        """Take over what the managers want now. The same value again does not delay a renewal."""
        if desired != self._desired:
            self._desired, self._desired_since_ns = desired, self._clock()
            self._desired_changed.set()

    async def run(self) -> None:
        """Renew when due, until cancelled. Failed attempts are logged and repeated with a backoff."""
        fraction, pause = _random_fraction(), _FIRST_RETRY_SECONDS
        while True:
            self._desired_changed.clear()
            try:
                await self._update_roots()
                left_ns = self._due_ns(fraction) - self._clock()
                if left_ns > 0:
                    pause = _FIRST_RETRY_SECONDS
                    await self._wait(min(left_ns / SECOND, _CHECK_SECONDS))
                    continue
                await renew_certificate(self._store, self._managers())
                fraction = _random_fraction()
                self._on_changed()
                await self._update_roots()
                if self._due_ns(fraction) > self._clock():
                    continue
            except (CoveyError, OSError) as error:
                log.warning("cannot renew the certificate, retrying in %.0f s: %s", pause, error)
            await self._wait(pause)
            pause = min(pause * 2, _MAX_RETRY_SECONDS)

    def _due_ns(self, fraction: float) -> int:
        return renewal_due_ns(self._store.require(), self._desired, self._desired_since_ns, fraction)

    async def _update_roots(self) -> None:
        async with self._store.lock:
            identity = self._store.require()
            roots = roots_to_trust(identity, self._desired)
            if roots == identity.root:
                return
            await asyncio.to_thread(self._store.save_roots, roots)
        log.info("now trusting %d root certificates", len(_split_pem(roots)))
        self._on_changed()

    async def _wait(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._desired_changed.wait()


def _random_fraction() -> float:
    return random.random()  # noqa: S311 - spreads load, keeps no secret
