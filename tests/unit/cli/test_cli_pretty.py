"""``covey info`` and ``inspect --pretty`` print the same as docker for the same daemon."""

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from covey.clock import HOUR, SECOND
from covey.objects import (
    Annotations,
    CASettings,
    ClusterSpec,
    EngineDescription,
    ExternalCA,
    NodeDescription,
    TLSInfo,
    replace,
)
from engine.interfaces import ManagerPeer
from manager.ca.certificates import create_root
from tests.support.api_daemon import Daemon, running

NOW = 1_800_000_000 * SECOND


@pytest.fixture
async def daemon(tmp_path: Path) -> AsyncIterator[Daemon]:
    async with running(tmp_path) as made:
        await made.form_cluster()
        yield made


def words(text: str) -> list[str]:
    """Lines without alignment. Docker prints UTC in lower case in some places."""
    lines = [" ".join(line.split()).replace("+0000 utc", "+0000 UTC") for line in text.splitlines()]
    return [line for line in lines if line]


async def test_info_prints_the_swarm_as_docker_does(daemon: Daemon) -> None:
    """Regression: covey info printed none of the swarm settings."""
    (cluster,) = daemon.store.view().clusters
    cas = (ExternalCA(url="https://one.example/sign"), ExternalCA(url="https://two.example/sign"))
    spec = ClusterSpec(
        task_history=3,
        heartbeat_period_ns=7 * SECOND,
        auto_lock=True,
        ca=CASettings(node_cert_expiry_ns=50 * HOUR, force_rotate=2, external_cas=cas),
    )
    pools = ("10.20.0.0/16", "10.30.0.0/16")
    await daemon.store.update(lambda tx: tx.update(replace(cluster, spec=spec, default_address_pool=pools)))
    daemon.node.managers = tuple(ManagerPeer(node_id=f"n{n}", addr=f"192.0.2.{n}:2377") for n in (2, 1))
    theirs, _ = await daemon.docker("info")
    ours, _ = await daemon.covey("info")
    block = re.search(r"^ Swarm: active\n(?:  .*\n)*", theirs, re.MULTILINE)
    assert block is not None
    wanted = [line.removeprefix(" ").rstrip() for line in block.group().splitlines()]
    assert "  Task History Retention Limit: 3" in wanted
    assert "    cfssl: https://two.example/sign" in wanted
    assert ours.splitlines()[-len(wanted) :] == wanted


async def test_inspect_pretty_prints_a_node_as_docker_does(daemon: Daemon) -> None:
    """Regression: labels without a value, plugins and the certificate issuer were missing."""
    root = create_root("c", NOW)
    node = daemon.store.view().nodes.find(daemon.node.node_id)
    description: NodeDescription = replace(
        node.description,
        engine=EngineDescription(version="0.1.0", labels={"disk": "ssd", "gpu": ""}),
        tls=TLSInfo(trust_root=root.cert, issuer_subject=b"subject", issuer_public_key=b"key"),
    )
    spec = replace(node.spec, annotations=Annotations(labels={"a": "1", "c": ""}))
    await daemon.store.update(lambda tx: tx.update(replace(node, description=description, spec=spec)))
    theirs, _ = await daemon.docker("node", "inspect", "--pretty", node.id)
    ours, _ = await daemon.covey("node", "inspect", "--pretty", node.id)
    assert {"- c", "TLS Info:", "Network: overlay"} <= set(words(theirs))
    assert words(ours) == words(theirs)


async def test_inspect_pretty_prints_labels_as_docker_does(daemon: Daemon) -> None:
    await daemon.docker("secret", "create", "--label", "a=1", "--label", "c", "s", "-", stdin=b"x")
    await daemon.docker("service", "create", "--detach", "--name", "web", "--label", "a=1", "--label", "c", "img")
    for noun, name in (("secret", "s"), ("service", "web")):
        theirs, _ = await daemon.docker(noun, "inspect", "--pretty", name)
        ours, _ = await daemon.covey(noun, "inspect", "--pretty", name)
        labels = words(theirs)[2:5]
        assert labels[0] == "Labels:"
        assert words(ours)[2:5] == labels
