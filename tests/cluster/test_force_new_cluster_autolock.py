"""A cluster that continues with one manager and autolock: `swarm init --force-new-cluster --autolock`, and again while it is locked.

The tests run in file order.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from manager.keys import data_keys
from node.lab import cluster as lab_cluster
from node.lab.layout import LabHost
from tests.support import labs
from tests.support.labs import LabCluster

pytestmark = pytest.mark.root
KEY = re.compile(r"SWMKEY-1-[A-Za-z0-9+/]{43}")
LOCKED = "Swarm is encrypted and needs to be unlocked before it can be used."


@pytest.fixture(scope="module")
def lab(images: Path) -> Iterator[LabCluster]:
    """Three managers that are not locked, with a secret and a service."""
    with labs.running_lab("forcelock", 3, archive=images) as found:
        found.docker("secret", "create", "word", "-", stdin=b"x")
        found.service("web", "--constraint", f"node.id=={found.node_id(found[1])}")
        found.running("web", 1)
        yield found


def state(lab: LabCluster, host: LabHost) -> str:
    """The state of the node, once the start of its manager has ended one way or the other."""
    return labs.wait(lambda: _settled_state(lab, host), "the manager to start or to say why not")


def _settled_state(lab: LabCluster, host: LabHost) -> str:
    found = str(lab.get("/info", on=host)["Swarm"]["LocalNodeState"])
    return "" if found == "pending" else found


def restart(lab: LabCluster, host: LabHost) -> None:
    lab_cluster.crash(host)
    lab.start(host)


def unlock(lab: LabCluster, host: LabHost, key: str) -> None:
    lab.docker("swarm", "unlock", on=host, stdin=f"{key}\n".encode())


def secrets_on(lab: LabCluster, host: LabHost) -> list[str]:
    return [item["Spec"]["Name"] for item in lab.get("/secrets", on=host)]


def test_the_forced_cluster_is_locked_and_its_tasks_run_on(lab: LabCluster) -> None:
    """The key is printed, a restart needs it, and a locked manager is forced nowhere."""
    first, second, third = lab.hosts
    containers, cluster_id = lab.covey_containers(first), lab.get("/swarm", on=first)["ID"]
    lab.kill(second, third)
    out = lab.docker("swarm", "init", "--force-new-cluster", "--autolock", on=first).out
    (key,) = KEY.findall(out)
    swarm = lab.get("/swarm", on=first)
    assert swarm["ID"] == cluster_id
    assert swarm["Spec"]["EncryptionConfig"]["AutoLockManagers"] is True
    assert lab.docker("swarm", "unlock-key", "-q", on=first).out.strip() == key
    keys = first.state_dir / "manager" / "keys"
    labs.wait(lambda: data_keys.is_locked(keys), "the manager's keys to be encrypted on its disk")
    restart(lab, first)
    assert state(lab, first) == "locked"
    assert LOCKED in lab.docker("node", "ls", on=first, check=1).err
    refused = lab.docker("swarm", "init", "--force-new-cluster", "--autolock", on=first, check=1).err
    assert "unlock" in refused
    assert state(lab, first) == "locked"
    unlock(lab, first, key)
    assert labs.wait(lambda: secrets_on(lab, first), "the secret after the unlock") == ["word"]
    assert lab.covey_containers(first) == containers


def test_a_manager_that_returns_is_locked_too(lab: LabCluster) -> None:
    first, second, _ = lab.hosts
    key = lab.docker("swarm", "unlock-key", "-q", on=first).out.strip()
    lab.start(second)
    labs.wait(
        lambda: lab.nodes(first)[second.name].get("ManagerStatus", {}).get("Reachability") == "reachable",
        "the second manager to be a new member",
    )
    labs.wait(lambda: "word" in secrets_on(lab, second), "the second manager to have the store")
    restart(lab, second)
    assert state(lab, second) == "locked"
    unlock(lab, second, key)
    labs.wait(lambda: state(lab, second) == "active", "the second manager to serve")


def test_a_locked_cluster_without_quorum_is_forced_after_its_unlock_and_keeps_its_key(lab: LabCluster) -> None:
    first, second, _ = lab.hosts
    key = lab.docker("swarm", "unlock-key", "-q", on=first).out.strip()
    lab.kill(second)
    restart(lab, first)
    assert state(lab, first) == "locked"
    unlock(lab, first, key)
    assert "does not have a leader" in lab.docker("node", "ls", on=first, check=1).err
    lab.docker("swarm", "init", "--force-new-cluster", on=first)
    assert lab.get("/swarm", on=first)["Spec"]["EncryptionConfig"]["AutoLockManagers"] is True
    assert lab.docker("swarm", "unlock-key", "-q", on=first).out.strip() == key
    restart(lab, first)
    assert state(lab, first) == "locked"
    unlock(lab, first, key)
    assert labs.wait(lambda: secrets_on(lab, first), "the secret after the unlock") == ["word"]
    lab.running("web", 1, on=first)
