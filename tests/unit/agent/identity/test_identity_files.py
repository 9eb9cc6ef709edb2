"""Identity files on disk, and the time of a renewal."""

import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.identity import IdentityStore, NodeIdentity, renewal_time_ns
from agent.identity.csr import new_key, signing_request
from covey.clock import HOUR, SECOND
from covey.errors import UnauthenticatedError
from covey.states import NodeRole
from manager.ca import certificates

NOW = 1_800_000_000 * SECOND


def identity(role: NodeRole = NodeRole.WORKER, key: bytes = b"") -> NodeIdentity:
    key = key or new_key()
    root = certificates.create_root("cluster1", NOW)
    pem = certificates.issue_certificate(
        root, signing_request(key), node_id="node1", role=role, cluster_id="cluster1", now_ns=NOW, lifetime_ns=24 * HOUR
    )
    return NodeIdentity.parse(certificate=pem, key=key, root=root.cert)


def test_an_identity_is_written_with_private_modes_and_read_back(tmp_path: Path) -> None:
    store = IdentityStore(tmp_path)
    assert store.load() is None
    mine = identity()
    store.save(mine)
    assert IdentityStore(tmp_path).load() == mine
    assert (mine.node_id, mine.role, mine.cluster_id) == ("node1", NodeRole.WORKER, "cluster1")
    assert stat.S_IMODE((tmp_path / "identity/node.key").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "identity").stat().st_mode) == 0o700
    assert sorted(path.name for path in (tmp_path / "identity").iterdir()) == ["node.crt", "node.key", "root.crt"]


def test_a_cached_identity_notices_a_renewed_certificate(tmp_path: Path) -> None:
    writer, reader = IdentityStore(tmp_path), IdentityStore(tmp_path)
    first = identity()
    writer.save(first)
    assert reader.require() == first
    assert reader.require() is reader.require(), "unchanged files are not read again"
    second = identity(NodeRole.MANAGER, first.key)
    writer.save(second)
    assert reader.require().role is NodeRole.MANAGER


def mirrored(data: bytes) -> bytes:
    """A substitute for the encryption of a manager's key."""
    return data if data.startswith(b"-----BEGIN") else data[::-1]


def test_a_renewal_leaves_an_encrypted_key_unchanged_and_a_worker_gets_it_unencrypted(tmp_path: Path) -> None:
    """Only the manager encrypts the key, perhaps at this moment. Another key means a new identity."""
    store, path = IdentityStore(tmp_path, mirrored), tmp_path / "identity/node.key"
    first = identity(NodeRole.MANAGER)
    store.save(first)
    sealed = first.key[::-1]
    path.write_bytes(sealed)
    store.save(identity(NodeRole.MANAGER, first.key))
    assert path.read_bytes() == sealed
    assert IdentityStore(tmp_path, mirrored).require().key == first.key
    store.store_key_unsealed()
    assert path.read_bytes() == first.key
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    before = path.stat().st_ino
    store.store_key_unsealed()
    assert path.stat().st_ino == before, "nothing to do"
    other = identity()
    store.save(other)
    assert path.read_bytes() == other.key


def test_a_node_without_an_identity_is_told_to_join(tmp_path: Path) -> None:
    store = IdentityStore(tmp_path)
    with pytest.raises(UnauthenticatedError, match="join a cluster first"):
        store.require()
    store.save(identity())
    store.remove()
    assert store.load() is None
    assert not (tmp_path / "identity").exists()


def test_a_certificate_that_is_not_a_nodes_is_refused() -> None:
    root = certificates.create_root("cluster1", NOW)
    with pytest.raises(UnauthenticatedError, match="no node id and role"):
        NodeIdentity.parse(certificate=root.cert, key=b"", root=root.cert)
    with pytest.raises(UnauthenticatedError, match="does not parse"):
        NodeIdentity.parse(certificate=b"nonsense", key=b"", root=root.cert)


MINE = identity()


@given(st.floats(0, 1, exclude_max=True))
def test_renewal_is_at_50_to_80_percent_of_the_validity(fraction: float) -> None:
    life = MINE.not_after_ns - MINE.not_before_ns
    due = renewal_time_ns(MINE, fraction) - MINE.not_before_ns
    assert life * 0.5 <= due <= life * 0.8
