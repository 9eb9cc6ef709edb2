"""What a daemon does with what it finds on its disk, and what it says of it, before any cluster is there."""

import time
from pathlib import Path
from typing import cast

import pytest

from agent.agent import Agent
from agent.identity import IdentityStore
from covey import unlockkey
from covey.states import NodeRole
from manager.ca import certificates
from manager.identity import write_identity
from manager.keys import file, node_key
from node.membership import Membership
from node.membership_session import MembershipSession
from node.node_record import NodeRecord, NodeRecordFile
from node.options import DaemonOptions
from node.unlock_key_cache import UnlockKeyCache


class _NoWorker:
    def records(self) -> list[object]:
        return []


class _StillAgent:
    """An agent with nothing to do."""

    worker = _NoWorker()


AGENT = cast("Agent", _StillAgent())


@pytest.fixture
def options(tmp_path: Path) -> DaemonOptions:
    (tmp_path / "state").mkdir()
    return DaemonOptions(state_dir=tmp_path / "state", run_dir=tmp_path / "run", socket=tmp_path / "s")


async def test_a_backup_that_a_daemon_left_which_died_while_it_restored_is_gone_with_the_next_start(
    options: DaemonOptions,
) -> None:
    left = options.state_dir / "restore.covey"
    left.write_bytes(b"sealed")
    async with Membership(options, AGENT).running():
        assert not left.exists()


def life_in(options: DaemonOptions) -> MembershipSession:
    vault, records = UnlockKeyCache(options.state_dir), NodeRecordFile(options.state_dir)
    identities = IdentityStore(options.state_dir, vault.unseal)
    record = NodeRecord(node_id="n1", cluster_id="c1", role=NodeRole.MANAGER)
    return MembershipSession(
        options, AGENT, records, identities, record, unlock_keys=vault, mode=None, bootstrap=None, established=True
    )


def test_an_identity_that_cannot_be_read_is_what_keeps_a_node_from_its_work(options: DaemonOptions) -> None:
    """1. A manager's keys are gone, or its key is. 2. Somebody asks what is wrong."""
    now = time.time_ns()
    root, (pem, request) = certificates.create_root("c1", now), certificates.new_csr()
    certificate = certificates.issue_certificate(
        root, request, node_id="n1", role=NodeRole.MANAGER, cluster_id="c1", now_ns=now, lifetime_ns=10**15
    )
    folder, keys = options.state_dir / "identity", file.new_keys(unlockkey.generate())
    write_identity(folder, certificate=certificate, key=node_key.seal(keys.ring, pem), root=root.cert)
    assert "keys is missing" in life_in(options).error
    (folder / "node.key").unlink()
    assert "this node's identity cannot be read" in life_in(options).error
    (folder / "node.key").write_bytes(pem)
    assert life_in(options).error == ""
    (folder / "node.crt").write_bytes(b"damaged")
    assert "the node's certificate does not parse" in life_in(options).error
