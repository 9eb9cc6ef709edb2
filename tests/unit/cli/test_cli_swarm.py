"""``covey swarm`` against the real API and control service, beside the real docker client."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from unit.engine.api_daemon import Daemon, running

from covey.objects import Cluster, ExternalCA, replace


@pytest.fixture
async def daemon(tmp_path: Path) -> AsyncIterator[Daemon]:
    async with running(tmp_path) as made:
        await made.form_cluster()
        yield made


def the_cluster(daemon: Daemon) -> Cluster:
    (cluster,) = daemon.store.view().clusters
    return cluster


async def test_taking_out_the_external_cas_asks_for_just_that(daemon: Daemon) -> None:
    """It said that the swarm was updated, and had sent what was there. Here nobody else could sign, so the managers refuse."""
    before = the_cluster(daemon)
    spec = replace(before.spec, ca=replace(before.spec.ca, external_cas=(ExternalCA(url="https://ca.example/"),)))
    await daemon.store.update(lambda tx: tx.update(replace(before, spec=spec)))
    _, error = await daemon.covey("swarm", "update", "--external-ca", "", check=1)
    assert "at least one valid, reachable external CA corresponding to the current CA certificate" in error
    await daemon.covey("swarm", "update", "--task-history-limit", "7")
    assert the_cluster(daemon).spec == replace(spec, task_history=7)
