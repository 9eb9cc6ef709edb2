"""A cluster whose managers keep its state in an etcd of three members: the main job, and what only this engine can lose."""

import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from node.lab import cluster as lab_cluster
from node.lab import etcd
from node.lab import host as machine
from node.lab.layout import LabHost
from tests.support import labs
from tests.support.labs import Cluster

pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def outside(images: Path) -> Iterator[Cluster]:
    with labs.made("etcd", 3, 1, archive=images, etcd=3) as found:
        yield found


@pytest.fixture
def lab(outside: Cluster) -> Iterator[Cluster]:
    yield outside
    for member in outside.lab.etcd_members:
        if etcd.pid(member) is None:
            etcd.start(outside.lab, member)
    outside.restore()
    outside.tidy()


def names(lab: Cluster, on: LabHost) -> set[str]:
    return {secret["Spec"]["Name"] for secret in lab.get("/secrets", on=on)}


def written(lab: Cluster, name: str, on: LabHost) -> None:
    """A write as a client repeats it."""

    def write() -> bool:
        status, _ = lab.request("POST", "/secrets/create", {"Name": name, "Data": "eA=="}, on=on)
        return status in {201, 409}

    labs.wait(write, f"secret {name} written through {on.name}")


def test_the_main_job_and_the_death_of_the_leader(lab: Cluster) -> None:
    lab.docker("secret", "create", "pw", "-", stdin=b"hunter2")
    lab.service("web", "--secret", "pw", "--replicas", "2", "--constraint", "node.role==worker")
    for task in lab.running("web", 2):
        assert lab.execute(task, "cat", "/run/secrets/pw").out == "hunter2"
    old = lab.wait_leader()
    rest = [host for host in lab.managers if host != old]
    lab.kill(old)
    began = time.monotonic()
    written(lab, "after", rest[0])
    took = time.monotonic() - began
    assert lab.wait_leader(but=old, on=rest[0]) in rest
    assert names(lab, rest[1]) == {"pw", "after"}
    lab.docker("service", "scale", "--detach", "web=3", on=rest[1])
    lab.running("web", 3, on=rest[1])
    lab.start(old)
    lab.wait_ready()
    assert names(lab, old) == {"pw", "after"}
    assert took < 10, f"a new leader wrote after {took:.1f} s"


def test_all_managers_die_and_come_back_without_a_state_of_their_own(lab: Cluster) -> None:
    lab.docker("secret", "create", "kept", "-", stdin=b"x")
    service = lab.service("kept", "--constraint", "node.role==worker")
    [task] = lab.running("kept", 1)
    lab.kill(*lab.managers)
    for host in lab.managers:
        assert not (host.state_dir / "manager" / "raft").exists()
        shutil.rmtree(host.state_dir / "manager")
    lab.start(*lab.managers)
    lab.wait_ready()
    for host in lab.managers:
        assert names(lab, host) == {"kept"}
        assert [found["ID"] for found in lab.get("/services", on=host)] == [service]
    assert [one["ID"] for one in lab.running("kept", 1)] == [task["ID"]], "the worker's task was left alone"
    assert lab.execute(task, "true").code == 0


def test_a_member_of_etcd_dies_and_another_hangs_each_in_its_turn(lab: Cluster) -> None:
    first, second, _ = lab.lab.etcd_members
    etcd.kill(first)
    for host in lab.managers:
        written(lab, f"dead-{host.number}", host)
    etcd.start(lab.lab, first)
    labs.wait(lambda: etcd.answers(lab.lab, first), "the first member back")
    etcd.send_signal(second, signal.SIGSTOP)
    try:
        for host in lab.managers:
            written(lab, f"hangs-{host.number}", host)
    finally:
        etcd.send_signal(second, signal.SIGCONT)
    wanted = {f"{what}-{host.number}" for what in ("dead", "hangs") for host in lab.managers}
    for host in lab.managers:
        assert names(lab, host) == wanted


def test_without_etcd_tasks_run_on_and_writes_are_refused_with_a_sentence(lab: Cluster) -> None:
    lab.service("on", "--constraint", "node.role==worker")
    [task] = lab.running("on", 1)
    for member in lab.lab.etcd_members:
        etcd.kill(member)
    refused = lab.docker("secret", "create", "lost", "-", stdin=b"x", check=1)
    assert "etcd at 192.168.77.254:" in refused.err, refused.err
    assert "does not answer" in refused.err, refused.err
    assert lab.execute(task, "true", on=lab.workers[0]).code == 0
    etcd.start_all(lab.lab)
    lab.wait_ready()
    written(lab, "back", lab.managers[0])
    assert [one["ID"] for one in lab.running("on", 1)] == [task["ID"]]


def test_a_worker_that_is_promoted_gets_the_key_and_loses_it_with_its_role(lab: Cluster) -> None:
    [worker] = lab.workers
    node_id, key = lab.node_id(worker), worker.state_dir / "identity" / "store.key"
    assert not key.exists()
    lab.docker("node", "promote", node_id)
    labs.wait(lambda: _reachable(lab, node_id), "the fourth manager is reachable")
    assert key.exists()
    written(lab, "through-the-fourth", worker)
    lab.docker("node", "demote", node_id)
    labs.wait(lambda: not key.exists(), "the key gone with the role")
    labs.wait(lambda: not lab.get("/info", on=worker)["Swarm"]["ControlAvailable"], "the node a worker")
    lab.wait_ready()
    assert "through-the-fourth" in names(lab, lab.managers[0])


def _reachable(lab: Cluster, node_id: str) -> bool:
    node = lab.get(f"/nodes/{node_id}", on=lab.managers[0])
    return bool((node.get("ManagerStatus") or {}).get("Reachability") == "reachable")


def test_a_daemon_started_for_another_store_says_so_and_ends(lab: Cluster) -> None:
    host = lab.managers[2]
    for store, sentence in (
        ("", "stores its state in etcd: start coveyd with --store etcd://192.168.77.254:2379"),
        (lab.lab.store.replace("/covey", "/other"), "not at etcd://"),
    ):
        lab_cluster.crash(host)
        wrong = LabHost(host.lab, host.number, store)
        machine.start_daemon(wrong)
        labs.wait(lambda sentence=sentence: sentence in host.log.read_text(), f"the daemon says {sentence!r}")
        labs.wait(lambda: machine.daemon_pid(host) is None, "the daemon's end")
        lab.start(host)
    lab.wait_ready()


def test_what_is_raft_s_alone_is_refused_by_name(lab: Cluster) -> None:
    status, said = lab.request(
        "POST", "/swarm/init", {"ForceNewCluster": True, "ListenAddr": "0.0.0.0:2377"}, on=lab.managers[0]
    )
    assert status == 501
    assert "--force-new-cluster needs managers that store the cluster's state themselves" in said["message"]
