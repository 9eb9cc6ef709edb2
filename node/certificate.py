"""Node certificate of a membership session: automatic renewal, renewal after a role change, and the error when it has expired.

Invariant: ``error`` is kept in memory. The files are checked every few seconds and after each renewal, never when ``error`` is read.
Called by ``node.membership_session`` and ``node.role_follower``.
"""

import asyncio
import datetime as dt
import logging
from collections.abc import Callable, Sequence

from agent.identity import CertificateRenewer, DesiredCertificate, IdentityStore, NodeIdentity, renew_certificate
from covey.clock import SECOND, Clock, wall_clock
from covey.errors import CoveyError
from covey.states import NodeRole
from covey.task_group import TaskGroup
from coveypb.v1 import dispatcher_pb2

RETRY_SECONDS = 1.0
CHECK_SECONDS = 2.0

EXPIRED_WORKER = 'use "swarm leave --force" here and join again'
EXPIRED_MANAGER = (
    f"if other managers work, {EXPIRED_WORKER}. If none does, the cluster's state exists only on these managers' disks: "
    'stop all managers but one, and use "swarm init --force-new-cluster" on that one'
)
"""A manager that leaves deletes its log. On the last managers that would destroy the cluster."""

log = logging.getLogger(__name__)


class NodeCertificate:
    """Renews this node's certificate. ``renewal_addrs`` returns the managers to ask; ``on_changed`` is called when the files have
    changed.
    """

    def __init__(
        self,
        identities: IdentityStore,
        renewal_addrs: Callable[[], Sequence[str]],
        on_changed: Callable[[], None],
        *,
        clock: Clock = wall_clock,
    ) -> None:
        self.error = ""
        self._identities = identities
        self._renewal_addrs = renewal_addrs
        self._on_changed = on_changed
        self._clock = clock
        self._renewer = CertificateRenewer(identities, renewal_addrs, self._files_changed)
        self.check()

    async def run(self) -> None:
        """Renew the certificate in time and keep ``error`` up to date, until cancelled."""
        async with TaskGroup() as group:
            group.create_task(self._renewer.run())
            group.create_task(self._check_periodically())

    def set_desired(self, state: dispatcher_pb2.SessionState) -> None:
        """Take over what the managers want of this node's certificate and trusted roots."""
        self._renewer.set_desired(
            DesiredCertificate(
                roots=state.root_certificates,
                issuer=(state.issuer_subject, state.issuer_public_key),
                validity_ns=state.certificate_life_ns,
                spread_ns=state.renewal_spread_ns,
            )
        )

    async def renew_for_role(self, role: Callable[[], NodeRole], report: Callable[[str], None]) -> None:
        """Renew until the certificate carries this node's role. ``report`` receives the reason while that fails, then an empty string."""
        while self._identities.require().role is not role():
            try:
                await renew_certificate(self._identities, self._renewal_addrs())
                self._files_changed()
            except CoveyError as error:
                report(error.message)
                log.warning("cannot get a certificate for the role %s yet: %s", role().name.lower(), error.message)
            if self._identities.require().role is not role():
                await asyncio.sleep(RETRY_SECONDS)
        report("")

    def check(self) -> None:
        """Read the identity from disk and set ``error`` if it is unusable."""
        try:
            self.error = certificate_expired_message(self._identities.load(), self._clock())
        except CoveyError as error:
            self.error = error.message
        except (OSError, ValueError) as error:
            self.error = f"cannot read this node's identity: {error}"

    async def _check_periodically(self) -> None:
        while True:
            await asyncio.sleep(CHECK_SECONDS)
            self.check()

    def _files_changed(self) -> None:
        self.check()
        self._on_changed()


def certificate_expired_message(identity: NodeIdentity | None, now_ns: int) -> str:
    """Error with the remedy if the certificate has expired, else an empty string."""
    if identity is None or identity.not_after_ns > now_ns:
        return ""
    moment = f"{dt.datetime.fromtimestamp(identity.not_after_ns / SECOND, dt.UTC):%Y-%m-%d %H:%M} UTC"
    remedy = EXPIRED_MANAGER if identity.role is NodeRole.MANAGER else EXPIRED_WORKER
    return f"this node's certificate expired on {moment} and was not renewed in time, so no other node accepts it; {remedy}"
