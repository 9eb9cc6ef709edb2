"""``covey swarm init`` and ``swarm update`` against the real API and control service."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from covey.objects import Cluster, ExternalCA, replace
from engine.interfaces import LocalNodeState, ManagerPeer, SwarmInit
from tests.support.api_daemon import Daemon, running


@pytest.fixture
async def daemon(tmp_path: Path) -> AsyncIterator[Daemon]:
    async with running(tmp_path) as made:
        await made.form_cluster()
        yield made


def the_cluster(daemon: Daemon) -> Cluster:
    (cluster,) = daemon.store.view().clusters
    return cluster


async def test_an_empty_external_ca_removes_all_external_cas(daemon: Daemon) -> None:
    """Regression: covey reported success and sent the old list. Here the managers refuse, because no other CA can sign."""
    before = the_cluster(daemon)
    spec = replace(before.spec, ca=replace(before.spec.ca, external_cas=(ExternalCA(url="https://ca.example/"),)))
    await daemon.store.update(lambda tx: tx.update(replace(before, spec=spec)))
    _, error = await daemon.covey("swarm", "update", "--external-ca", "", check=1)
    assert "at least one valid, reachable external CA corresponding to the current CA certificate" in error
    await daemon.covey("swarm", "update", "--task-history-limit", "7")
    assert the_cluster(daemon).spec == replace(spec, task_history=7)


async def test_autolock_accepts_true_and_false_as_in_dockers_documentation(daemon: Daemon) -> None:
    """Regression: ``--autolock=false`` was refused with "Option '--autolock' does not take a value"."""
    for words, locked in (
        ("--autolock=true", True),
        ("--autolock=false", False),
        ("--autolock", True),
        ("--no-autolock", False),
        ("--autolock=1", True),
    ):
        said, _ = await daemon.covey("swarm", "update", words)
        cluster = the_cluster(daemon)
        assert (cluster.spec.auto_lock, bool(cluster.unlock_key)) == (locked, locked), words
        assert cluster.unlock_key in said
    _, error = await daemon.covey("swarm", "update", "--autolock=maybe", check=125)
    assert "autolock" in error
    assert "maybe" in error


@pytest.mark.parametrize(("words", "locked"), [(["--autolock=false"], False), (["--autolock=true"], True)])
async def test_autolock_accepts_a_value_at_init(tmp_path: Path, words: list[str], locked: bool) -> None:
    async with running(tmp_path) as daemon:
        await daemon.covey("swarm", "init", *words, check=None)
        (asked,) = daemon.node.requests
        assert isinstance(asked, SwarmInit)
        assert asked.spec.auto_lock is locked


async def test_the_join_command_has_this_nodes_address_and_join_port(tmp_path: Path) -> None:
    """Regression: the port was always 2377, whatever --join-port of coveyd was."""
    async with running(tmp_path) as daemon:
        daemon.node.become_manager()
        daemon.node.managers = (
            ManagerPeer(node_id="another", addr="192.0.2.9:4000"),
            ManagerPeer(node_id=daemon.node.node_id, addr="192.0.2.1:4000"),
        )
        daemon.node.state = LocalNodeState.INACTIVE
        said, _ = await daemon.covey("swarm", "init")
        assert "covey swarm join --token SWMTKN-1-x-worker 192.0.2.1:4000\n" in said
        (asked,) = daemon.node.requests
        assert isinstance(asked, SwarmInit)
        assert asked.listen_addr == ""
        again, _ = await daemon.covey("swarm", "join-token", "manager")
        assert "covey swarm join --token SWMTKN-1-x-manager 192.0.2.1:4000\n" in again
