"""Random walks of root CA rotation: no two nodes of the cluster ever refuse each other.

A member is modelled by its files. It learns of changes late, renews late, or is off. The certificates are real; one member accepts another
as TLS does: the issuer is trusted, or is signed by a trusted one.
"""

from __future__ import annotations

import random
from functools import cache

import pytest
from cryptography import x509

from agent.identity import DesiredCertificate, NodeIdentity
from agent.identity.certificate_renewer import renewal_due_ns, roots_to_trust
from agent.identity.csr import new_key, signing_request
from covey import trust
from covey.clock import HOUR, SECOND
from covey.objects import CASettings, Cluster, ClusterSpec, Node, NodeDescription, replace
from covey.states import NodeRole
from manager.ca.certificates import RootPair, create_root
from manager.ca.cluster_trust import new_cluster
from manager.ca.root_rotation import plan, plan_root_change, with_rotation, without_stale_tls
from manager.ca.signing import CertificateSigner
from manager.store import View
from manager.store.schema import CLUSTERS, NODES

NOW = 1_800_000_000 * SECOND
MEMBERS = 4
STEPS = 250
KEY = new_key()
REQUEST = signing_request(KEY)
SPARE = [create_root("spare", NOW) for _ in range(6)]
"""Keys take time to make; a rotation takes one of these."""


@cache
def certificates_of(pem: bytes) -> tuple[x509.Certificate, ...]:
    return tuple(x509.load_pem_x509_certificates(pem))


@cache
def accepts(roots: bytes, chain: bytes) -> bool:
    """Whether who trusts the roots accepts the first certificate of the chain."""
    leaf, *others = certificates_of(chain)
    trusted = certificates_of(roots)
    return any(_signed(leaf, root) for root in trusted) or any(
        _signed(leaf, other) and any(_signed(other, root) for root in trusted) for other in others
    )


def _signed(one: x509.Certificate, by: x509.Certificate) -> bool:
    try:
        one.verify_directly_issued_by(by)
    except Exception:  # noqa: BLE001 - names, keys and algorithms each raise their own kind
        return False
    return True


class Member:
    """Its files, the last that it was told, and what the store has of it."""

    def __init__(self, identity: NodeIdentity, said: NodeDescription) -> None:
        self.identity = identity
        self.wish = DesiredCertificate()
        self.said = said
        self.away = False


class World:
    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.cluster = new_cluster(ClusterSpec(), NOW)
        self.signer = CertificateSigner(clock=lambda: NOW)
        self.members: dict[str, Member] = {}
        self.wishes = [self.wish()]
        self.made = 0
        self.completed = 0

    def view(self) -> View:
        found = View.empty().put(CLUSTERS, self.cluster.id, self.cluster)
        for name, member in self.members.items():
            found = found.put(NODES, name, Node(id=name, description=member.said))
        return found

    async def issue(self, name: str, roots: bytes = b"") -> NodeIdentity:
        pem = await self.signer.sign(self.cluster, REQUEST, name, NodeRole.WORKER)
        return NodeIdentity.parse(certificate=pem, key=KEY, root=roots or trust.trusted_roots(self.cluster.root_ca))

    def wish(self) -> DesiredCertificate:
        wanted = trust.expected_tls_info(self.cluster.root_ca)
        issuer = (wanted.issuer_subject, wanted.issuer_public_key)
        return DesiredCertificate(roots=wanted.trust_root, issuer=issuer)

    async def step(self) -> None:
        present = [member for member in self.members.values() if not member.away]
        event = self.random.choices(
            ("join", "rotate", "end", "leave", "go", "come", "hear late", "hear", "trust", "renew", "say", "decide"),
            (2, 2, 1, 1, 2, 3, 1, 12, 12, 12, 12, 12),
        )[0]
        match event:
            case "join" if len(self.members) < MEMBERS:
                self.made += 1
                name = f"m{self.made}"
                self.members[name] = Member(await self.issue(name), NodeDescription())
            case "rotate":
                self.rotate(self.random.choice(SPARE))
            case "end":
                self.rotate(RootPair(cert=self.cluster.root_ca.cert, key=self.cluster.root_ca.key))
            case "leave" if len(self.members) > 1:
                del self.members[self.random.choice(sorted(self.members))]
            case "go" | "come" if self.members:
                self.members[self.random.choice(sorted(self.members))].away = event == "go"
            case "decide":
                self.decide()
            case "hear late" | "hear" | "trust" | "renew" | "say" if present:
                await self.act(event, self.random.choice(present))
            case _:
                pass
        if self.wish() != self.wishes[-1]:
            self.wishes.append(self.wish())

    async def act(self, event: str, member: Member) -> None:
        match event:
            case (
                "hear late"
            ):  # a leader that was deposed and has not noticed yet speaks of the state before; it signs nothing
                member.wish = self.wishes[-2:][0]
            case "hear":
                member.wish = self.wish()
            case "trust":
                member.identity = replace(member.identity, root=roots_to_trust(member.identity, member.wish))
            case "renew" if renewal_due_ns(member.identity, member.wish, NOW, 0.5) <= NOW + HOUR:
                name = member.identity.node_id
                member.said = without_stale_tls(
                    Node(id=name, description=member.said), self.cluster.root_ca
                ).description
                member.identity = await self.issue(name)
            case "say":
                member.said = NodeDescription(tls=member.identity.tls_info)
            case _:
                pass

    def rotate(self, to: RootPair) -> None:
        wish = CASettings(signing_cert=to.cert, signing_key=to.key)
        if to.cert != self.cluster.root_ca.cert and to in self.used():
            return
        decision = plan_root_change(self.cluster, wish, NOW)
        root_ca = decision.root_ca if decision.target is None else with_rotation(decision.root_ca, decision.target, NOW)
        self.cluster = replace(self.cluster, root_ca=root_ca)

    def used(self) -> list[RootPair]:
        rotation = self.cluster.root_ca.rotation
        return [] if rotation is None else [RootPair(cert=rotation.cert, key=rotation.key)]

    def decide(self) -> None:
        for step in plan(self.view()).steps:
            (after,) = step.updates
            assert isinstance(after, Cluster)
            self.cluster = after
            self.completed += 1

    def check(self) -> None:
        for one in self.members.values():
            for other in self.members.values():
                assert accepts(one.identity.root, other.identity.certificate), (
                    f"{one.identity.node_id} refuses {other.identity.node_id}"
                )

    async def settle(self) -> None:
        """Everybody is there and nothing more happens: the end comes by itself."""
        for member in self.members.values():
            member.away = False
        for _ in range(4):
            for event in ("hear", "trust", "renew", "trust", "say"):
                for member in self.members.values():
                    await self.act(event, member)
                    self.check()
            self.decide()
            self.check()
        assert self.cluster.root_ca.rotation is None
        for member in self.members.values():
            assert member.identity.root == self.cluster.root_ca.cert
            assert member.identity.issuer == trust.subject_and_key(self.cluster.root_ca.cert)


@pytest.mark.parametrize("seed", range(60))
async def test_members_accept_each_other_at_every_step_and_end_with_one_root(seed: int) -> None:
    world = World(seed)
    for _ in range(STEPS):
        await world.step()
        world.check()
    await world.settle()


async def test_some_walks_complete_a_rotation() -> None:
    done = 0
    for seed in range(10):
        world = World(seed)
        for _ in range(STEPS):
            await world.step()
        done += world.completed
    assert done >= 5
