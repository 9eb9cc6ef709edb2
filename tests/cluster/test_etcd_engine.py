"""Clusters that store their state in etcd: services and failover, etcd failures, and the errors specific to etcd."""

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
from tests.support.labs import LabCluster

pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def etcd_lab(images: Path) -> Iterator[LabCluster]:
    with labs.running_lab("etcd", 3, 1, archive=images, etcd=3) as found:
        yield found


@pytest.fixture
def lab(etcd_lab: LabCluster) -> Iterator[LabCluster]:
    yield etcd_lab
    for member in etcd_lab.lab.etcd_members:
        if etcd.pid(member) is None:
            etcd.start(etcd_lab.lab, member)
    etcd_lab.restore_all_hosts()
    etcd_lab.remove_all_objects()


def names(lab: LabCluster, on: LabHost) -> set[str]:
    return {secret["Spec"]["Name"] for secret in lab.get("/secrets", on=on)}


def write_with_retries(lab: LabCluster, name: str, on: LabHost) -> None:
    """Create a secret; retry until it is acknowledged."""

    def write() -> bool:
        status, _ = lab.request("POST", "/secrets/create", {"Name": name, "Data": "eA=="}, on=on)
        return status in {201, 409}

    labs.wait(write, f"secret {name} written through {on.name}")


def test_services_run_and_a_new_leader_takes_over(lab: LabCluster) -> None:
    lab.docker("secret", "create", "pw", "-", stdin=b"hunter2")
    lab.service("web", "--secret", "pw", "--replicas", "2", "--constraint", "node.role==worker")
    for task in lab.running("web", 2):
        assert lab.execute(task, "cat", "/run/secrets/pw").out == "hunter2"
    old = lab.wait_leader()
    rest = [host for host in lab.managers if host != old]
    lab.kill(old)
    began = time.monotonic()
    write_with_retries(lab, "after", rest[0])
    took = time.monotonic() - began
    assert lab.wait_leader(but=old, on=rest[0]) in rest
    assert names(lab, rest[1]) == {"pw", "after"}
    lab.docker("service", "scale", "--detach", "web=3", on=rest[1])
    lab.running("web", 3, on=rest[1])
    lab.start(old)
    lab.wait_ready()
    assert names(lab, old) == {"pw", "after"}
    assert took < 30, f"a new leader wrote after {took:.1f} s"


def test_managers_restart_without_local_state(lab: LabCluster) -> None:
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
    assert [one["ID"] for one in lab.running("kept", 1)] == [task["ID"]], "the worker's task was replaced"
    assert lab.execute(task, "true").code == 0


def test_writes_continue_while_one_etcd_member_is_dead_or_hangs(lab: LabCluster) -> None:
    first, second, _ = lab.lab.etcd_members
    etcd.kill(first)
    for host in lab.managers:
        write_with_retries(lab, f"dead-{host.number}", host)
    etcd.start(lab.lab, first)
    labs.wait(lambda: etcd.answers(lab.lab, first), "the first member to answer again")
    etcd.send_signal(second, signal.SIGSTOP)
    try:
        for host in lab.managers:
            write_with_retries(lab, f"paused-{host.number}", host)
    finally:
        etcd.send_signal(second, signal.SIGCONT)
    wanted = {f"{what}-{host.number}" for what in ("dead", "paused") for host in lab.managers}
    for host in lab.managers:
        assert names(lab, host) == wanted


def test_without_etcd_tasks_keep_running_and_writes_are_refused_with_a_reason(lab: LabCluster) -> None:
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
    write_with_retries(lab, "back", lab.managers[0])
    assert [one["ID"] for one in lab.running("on", 1)] == [task["ID"]]


def test_a_promoted_worker_gets_the_store_key_and_a_demoted_one_loses_it(lab: LabCluster) -> None:
    [worker] = lab.workers
    node_id, key = lab.node_id(worker), worker.state_dir / "identity" / "store.key"
    assert not key.exists()
    lab.docker("node", "promote", node_id)
    labs.wait(lambda: is_reachable_manager(lab, node_id), "the fourth manager to be reachable")
    assert key.exists()
    write_with_retries(lab, "through-the-fourth", worker)
    lab.docker("node", "demote", node_id)
    labs.wait(lambda: not key.exists(), "the key removed with the role")
    labs.wait(lambda: not lab.get("/info", on=worker)["Swarm"]["ControlAvailable"], "the node to be a worker")
    lab.wait_ready()
    assert "through-the-fourth" in names(lab, lab.managers[0])


def is_reachable_manager(lab: LabCluster, node_id: str) -> bool:
    node = lab.get(f"/nodes/{node_id}", on=lab.managers[0])
    return bool((node.get("ManagerStatus") or {}).get("Reachability") == "reachable")


def test_a_daemon_started_with_another_store_exits_with_a_reason(lab: LabCluster) -> None:
    host = lab.managers[2]
    for store, sentence in (
        ("", "stores its state in etcd: start coveyd with --store etcd://192.168.77.254:2379"),
        (lab.lab.store.replace("/covey", "/other"), "not at etcd://"),
    ):
        lab_cluster.crash(host)
        wrong = LabHost(host.lab, host.number, store)
        machine.start_daemon(wrong)
        labs.wait(lambda sentence=sentence: sentence in host.log.read_text(), f"{sentence!r} in the daemon's log")
        labs.wait(lambda: machine.daemon_pid(host) is None, "the daemon to exit")
        lab.start(host)
    lab.wait_ready()


def test_force_new_cluster_is_refused_because_it_needs_raft(lab: LabCluster) -> None:
    status, said = lab.request(
        "POST", "/swarm/init", {"ForceNewCluster": True, "ListenAddr": "0.0.0.0:2377"}, on=lab.managers[0]
    )
    assert status == 501
    assert "--force-new-cluster needs managers that store the cluster's state themselves" in said["message"]
