"""Manager failures with the docker client: leader crash, network cut, pause, restart, promotion and demotion."""

import os
import secrets
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from node.lab import cluster as lab_cluster
from node.lab.layout import LabHost
from tests.support import labs
from tests.support.labs import LabCluster

pytestmark = pytest.mark.root
ELECTION_SECONDS = 30.0
OCCUPY_PORT = """
import socket, sys
taken = socket.create_server(("0.0.0.0", 2378))
print("serves", flush=True)
sys.stdin.read()
"""


@pytest.fixture(scope="module")
def trio(images: Path) -> Iterator[LabCluster]:
    with labs.running_lab("trio", 3, archive=images) as found:
        yield found


@pytest.fixture
def managers(trio: LabCluster) -> Iterator[LabCluster]:
    """The lab with all three managers, healed after each test."""
    trio.restore_all_hosts()
    yield trio
    trio.restore_all_hosts()
    trio.remove_all_objects()


def secret_names(lab: LabCluster, on: object = None) -> set[str]:
    return {secret["Spec"]["Name"] for secret in lab.get("/secrets", on=on)}


def write(lab: LabCluster, name: str, on: object) -> tuple[int, object]:
    return lab.request("POST", "/secrets/create", {"Name": name, "Data": "eA=="}, on=on)


def test_a_write_through_any_manager_is_readable_through_all(managers: LabCluster) -> None:
    for host in managers.managers:
        managers.docker("secret", "create", f"from-{host.number}", "-", stdin=b"x", on=host)
        for reader in managers.managers:
            # Reads are fresh: an acknowledged write is in every later read, through any manager.
            assert f"from-{host.number}" in managers.docker("secret", "ls", "--format", "{{.Name}}", on=reader).lines


def test_no_acknowledged_write_is_lost_when_the_leader_is_killed(managers: LabCluster) -> None:
    leader = managers.wait_leader()
    survivor = next(host for host in managers.managers if host != leader)
    acknowledged: list[str] = []
    enough, stop = threading.Event(), threading.Event()

    def writer() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            try:
                status, _ = write(managers, f"w{number}", survivor)
            except OSError:
                continue
            if status == 201:
                acknowledged.append(f"w{number}")
                if len(acknowledged) == 30:
                    enough.set()

    thread = threading.Thread(target=writer)
    thread.start()
    try:
        assert enough.wait(20), "the cluster takes no writes"
        managers.kill(leader)
        before = len(acknowledged)
        labs.wait(lambda: len(acknowledged) > before + 10, "writes after the leader's death", ELECTION_SECONDS)
    finally:
        stop.set()
        thread.join(30)
    assert set(acknowledged) <= secret_names(managers, on=survivor)
    assert managers.wait_leader(but=leader, on=survivor) != leader
    # The killed manager returns as a follower with every write.
    managers.start(leader)
    managers.wait_ready()
    assert set(acknowledged) <= secret_names(managers, on=leader)


def test_a_cli_write_waits_for_the_new_leader(managers: LabCluster) -> None:
    leader = managers.wait_leader()
    survivor = next(host for host in managers.managers if host != leader)
    managers.kill(leader)
    began = time.monotonic()
    # One command without a retry by the user: it waits for the new leader instead of failing.
    managers.docker("network", "create", "-d", "overlay", "after", on=survivor)
    assert time.monotonic() - began < ELECTION_SECONDS
    shown = managers.docker("node", "ls", "--format", "{{.Hostname}} {{.ManagerStatus}}", on=survivor).lines
    assert [line for line in shown if line.endswith(" Leader")] != [f"{leader.name} Leader"]
    labs.wait(
        lambda: (
            f"{leader.name} Unreachable"
            in managers.docker("node", "ls", "--format", "{{.Hostname}} {{.ManagerStatus}}", on=survivor).lines
        ),
        "the dead manager shown as unreachable",
    )


def test_two_dead_managers_of_three_stop_writes_until_one_returns(managers: LabCluster) -> None:
    managers.docker("secret", "create", "before", "-", stdin=b"x")
    dead = list(managers.managers[1:])
    alone = managers.managers[0]
    managers.kill(*dead)

    def refused() -> str:
        status, answer = write(managers, "alone", alone)
        assert status != 201, "a minority acknowledged a write"
        return answer["message"] if status == 503 else ""

    message = labs.wait(refused, "a refusal of writes without a majority", 30)
    assert "leader" in message or "majority" in message or "quorum" in message, message
    shown = managers.docker("secret", "create", "alone", "-", stdin=b"x", on=alone, check=1)
    assert shown.err.startswith("Error response from daemon: "), shown.err
    managers.start(dead[0])

    def written() -> bool:
        return write(managers, "together", alone)[0] == 201

    labs.wait(written, "a write once a majority is back", ELECTION_SECONDS)
    assert {"before", "together"} <= secret_names(managers, on=alone)


def test_a_cut_leader_steps_down_and_acknowledges_nothing(managers: LabCluster) -> None:
    leader = managers.wait_leader()
    other = next(host for host in managers.managers if host != leader)
    managers.cut(leader)
    # The cut leader does not know yet that it is cut. It must not acknowledge the write.
    answers: list[int] = []
    thread = threading.Thread(target=lambda: answers.append(write(managers, "isolated", leader)[0]))
    thread.start()
    new = managers.wait_leader(but=leader, on=other)
    managers.docker("secret", "create", "majority", "-", stdin=b"x", on=other)
    thread.join(60)
    assert answers
    assert answers[0] >= 500, answers
    assert write(managers, "isolated-2", leader)[0] == 503
    managers.heal(leader)
    managers.wait_ready()
    for host in managers.managers:
        names = secret_names(managers, on=host)
        assert "majority" in names
        assert not names & {"isolated", "isolated-2"}
    assert managers.wait_leader() == new


def test_a_leader_paused_during_an_election_serves_no_stale_read(managers: LabCluster) -> None:
    """1. The leader is paused. 2. Another is elected and takes a write. 3. The old leader continues. A waiting read is the first thing it
    handles, before it can know that it no longer leads.
    """
    leader = managers.wait_leader()
    other = next(host for host in managers.managers if host != leader)
    pid = labs.manager_pid(leader)
    names: list[set[str]] = []
    reader = threading.Thread(target=lambda: names.append(secret_names(managers, on=leader)))
    os.kill(pid, signal.SIGSTOP)
    try:
        managers.wait_leader(but=leader, on=other)
        assert write(managers, "meanwhile", other)[0] == 201
        reader.start()
        # The request waits up to five seconds for the paused leader; until then no answer can come.
        reader.join(0.3)
        assert not names
    finally:
        os.kill(pid, signal.SIGCONT)
    reader.join(30)
    assert names == [{"meanwhile"}]


def test_a_leader_paused_during_an_election_refuses_no_write_on_stale_data(managers: LabCluster) -> None:
    """1. The leader is paused. 2. Another is elected and removes a secret. 3. The old leader continues. The creation of a secret with the same
    name is the first thing it handles; the name is free. The outcome may be unknown only if the new leader has lost the leadership, too.
    """
    leader = managers.wait_leader()
    other = next(host for host in managers.managers if host != leader)
    assert write(managers, "freed", other)[0] == 201
    pid = labs.manager_pid(leader)
    answers: list[tuple[int, object]] = []
    writer = threading.Thread(target=lambda: answers.append(write(managers, "freed", leader)))
    os.kill(pid, signal.SIGSTOP)
    paused_at = time.monotonic()
    try:
        new = managers.wait_leader(but=leader, on=other)
        assert managers.request("DELETE", "/secrets/freed", on=other)[0] == 204
        writer.start()
        writer.join(0.3)
        assert not answers
        # A leader notices pauses of more than 1.5 s. After a shorter one it may propose once more, and answer that the outcome is unknown.
        labs.wait(lambda: time.monotonic() - paused_at > 2, "a pause that the leader notices")
    finally:
        os.kill(pid, signal.SIGCONT)
    writer.join(30)
    assert [status for status, _ in answers] in ([201], [504]), answers
    if answers[0][0] == 504:
        assert managers.wait_leader(on=other) != new, answers
        assert write(managers, "freed", other)[0] == (409 if "freed" in secret_names(managers, on=other) else 201)
    assert secret_names(managers, on=other) == {"freed"}


def test_a_restarted_follower_has_its_old_state_and_the_missed_writes(managers: LabCluster) -> None:
    leader = managers.wait_leader()
    follower = next(host for host in managers.managers if host != leader)
    identity = managers.node_id(follower)
    managers.docker("secret", "create", "had", "-", stdin=b"x")
    managers.kill(follower)
    managers.docker("secret", "create", "missed", "-", stdin=b"x", on=leader)
    managers.start(follower)
    managers.wait_ready()
    assert {"had", "missed"} <= secret_names(managers, on=follower)
    assert managers.node_id(follower) == identity
    assert len(managers.nodes()) == 3


def test_a_cluster_recovers_its_services_after_all_managers_were_killed(managers: LabCluster) -> None:
    managers.docker("secret", "create", "kept", "-", stdin=b"kept")
    managers.docker("network", "create", "-d", "overlay", "--subnet", "10.77.0.0/24", "net")
    service = managers.service("survivor", "--replicas", "3", "--network", "net", "--secret", "kept", "--label", "a=b")
    before = managers.running("survivor", 3)
    managers.kill(*managers.managers)
    managers.start(*managers.managers)
    managers.wait_ready()
    assert managers.get("/services/survivor")["ID"] == service
    assert managers.get("/services/survivor")["Spec"]["Labels"] == {"a": "b"}
    # A host that lost power lost its containers, so all three tasks are new.
    old = {task["ID"] for task in before}
    labs.wait(lambda: not old & {task["ID"] for task in managers.running("survivor", 3)}, "three new tasks")
    after = managers.running("survivor", 3)
    for task in after:
        assert managers.execute(task, "cat", "/run/secrets/kept").out == "kept"
        assert task["NetworksAttachments"][0]["Addresses"][0].startswith("10.77.0.")


def test_managers_restart_after_a_crash_without_disturbing_containers(managers: LabCluster) -> None:
    managers.service("steady", "--replicas", "3")
    before = managers.running("steady", 3)
    containers = {managers.container(task) for task in before}
    pids = {host.name: managers.covey_containers(host) for host in managers.managers}
    for host in managers.managers:
        lab_cluster.crash(host)
    managers.start(*managers.managers)
    managers.wait_ready()
    after = managers.running("steady", 3)
    assert {task["ID"] for task in before} == {task["ID"] for task in after}
    assert {managers.container(task) for task in after} == containers
    assert {host.name: managers.covey_containers(host) for host in managers.managers} == pids


def test_a_manager_that_cannot_start_retries(managers: LabCluster) -> None:
    """1. A daemon crashes. 2. When it restarts, another process has the manager's port. 3. The port is freed and the manager starts."""
    leader = managers.wait_leader()
    follower = next(host for host in managers.managers if host != leader)
    lab_cluster.crash(follower)
    # The manager process of the dead daemon frees the port when it has ended.
    labs.wait(lambda: ":2378" not in managers.inside(follower, "ss", "-ltn").out, "the port free")
    with managers.serving(follower, sys.executable, "-c", OCCUPY_PORT):
        managers.start(follower)
        said = "the manager cannot listen at 0.0.0.0:2378"
        labs.wait(
            lambda: follower.log.read_text().count(f"code 1: {said}") >= 2, "two attempts with a reason in the log"
        )
    managers.wait_ready()


def test_a_worker_is_promoted_and_demoted_with_the_docker_cli(images: Path) -> None:
    with labs.running_lab("roles", 1, 2) as lab:
        first, second, third = lab.hosts
        lab.docker("node", "promote", second.name, third.name)

        def status(host: object) -> str:
            return (lab.nodes()[host.name].get("ManagerStatus") or {}).get("Reachability", "")

        labs.wait(lambda: status(second) == status(third) == "reachable", "two promoted managers")
        lab.wait_leader(on=third)
        lab.docker("secret", "create", "by-a-new-manager", "-", stdin=b"x", on=third)
        lab.docker("node", "demote", second.name)
        labs.wait(lambda: not lab.nodes()[second.name].get("ManagerStatus"), "the demotion")
        labs.wait(lambda: lab.request("GET", "/nodes", on=second)[0] == 503, "the worker's refusal of manager calls")
        refused = lab.docker("node", "ls", on=second, check=1)
        assert "This node is not a swarm manager" in refused.err
        labs.wait(lambda: lab.nodes()[second.name]["Status"]["State"] == "ready", "the worker ready again")
        # The second to last manager can be demoted, the last cannot.
        lab.docker("node", "demote", third.name)
        labs.wait(lambda: not lab.nodes()[third.name].get("ManagerStatus"), "the second demotion")
        refused = lab.docker("node", "demote", first.name, check=1)
        assert "last manager" in refused.err, refused.err
        assert lab.docker("secret", "ls", "-q").out.strip()


def snapshot_indices(host: LabHost) -> list[int]:
    """Log indices of a manager's snapshots, oldest first. Every cluster has one at index 1 from its creation."""
    return sorted([int(path.name[:16], 16) for path in (host.state_dir / "manager/raft/snapshots").glob("*.snap")])


def keep_log_entries(lab: LabCluster, number: int) -> None:
    """Set LogEntriesForSlowFollowers through the API; docker has no flag for it."""
    swarm = lab.get("/swarm")
    swarm["Spec"]["Raft"]["LogEntriesForSlowFollowers"] = number
    assert lab.request("POST", f"/swarm/update?version={swarm['Version']['Index']}", swarm["Spec"])[0] == 200


def test_a_follower_behind_the_log_catches_up_by_an_encrypted_snapshot(managers: LabCluster) -> None:
    """The settings make the leader compact its log while a manager is away, so the missed entries are no longer in the log."""
    word = f"sealed-{secrets.token_hex(16)}"
    managers.docker("swarm", "update", "--snapshot-interval", "20", "--max-snapshots", "2")
    keep_log_entries(managers, 5)
    leader = managers.wait_leader()
    away = next(host for host in managers.managers if host != leader)
    managers.docker("secret", "create", "sealed", "-", stdin=word.encode())
    # The settings are checked every few seconds.
    numbers = iter(range(10_000))

    def cut() -> bool:
        assert write(managers, f"s{next(numbers)}", leader)[0] == 201
        return len(snapshot_indices(leader)) == 3 and snapshot_indices(leader)[0] > 1

    labs.wait(cut, "three snapshots on the leader's disk, without the first one")
    before, said = snapshot_indices(leader)[-1], away.log.read_text().count("the leader's snapshot")
    managers.kill(away)
    # The log is kept for the dead manager until it is down.
    labs.wait(lambda: managers.nodes(leader)[away.name]["Status"]["State"] == "down", "the dead manager shown as down")
    for number in range(150):
        assert write(managers, f"missed-{number}", leader)[0] == 201
    assert snapshot_indices(leader)[0] > before
    managers.start(away)
    managers.wait_ready()
    assert away.log.read_text().count("the leader's snapshot") > said, "the follower caught up from the log"
    assert {f"missed-{number}" for number in range(150)} <= secret_names(managers, on=away)
    for host in managers.managers:
        for path in host.folder.rglob("*"):
            assert not (path.is_file() and not path.is_symlink() and word.encode() in path.read_bytes()), path
    # The snapshot contains the secret: the follower's own task can use it.
    managers.service("user", "--secret", "sealed", "--constraint", f"node.hostname=={away.name}")
    assert managers.execute(managers.running("user", 1)[0], "cat", "/run/secrets/sealed").out == word


def test_demoting_the_leader_moves_leadership_and_keeps_tasks(images: Path) -> None:
    with labs.running_lab("handover", 3, archive=images) as lab:
        lab.service("web", "--replicas", "3")
        before = {task["ID"] for task in lab.running("web", 3)}
        leader = lab.wait_leader()
        one, other = (host for host in lab.managers if host != leader)
        lab.docker("node", "demote", leader.name, on=one)
        new = lab.wait_leader(but=leader, on=one)
        assert new in (one, other)
        lab.docker("secret", "create", "after", "-", stdin=b"x", on=other)
        labs.wait(
            lambda: lab.request("GET", "/nodes", on=leader)[0] == 503, "the demoted node's refusal of manager calls"
        )
        labs.wait(lambda: lab.nodes(one)[leader.name]["Status"]["State"] == "ready", "the demoted node ready")
        assert {task["ID"] for task in lab.running("web", 3, on=one)} == before
        # A dead manager can be demoted and removed.
        lab.docker("node", "promote", leader.name, on=one)
        labs.wait(
            lambda: (lab.nodes(one)[leader.name].get("ManagerStatus") or {}).get("Reachability") == "reachable",
            "three managers again",
        )
        lab.kill(other)
        labs.wait(lambda: lab.nodes(one)[other.name]["Status"]["State"] == "down", "the dead manager shown as down")
        lab.docker("node", "demote", other.name, on=one)
        labs.wait(
            lambda: lab.docker("node", "rm", other.name, on=one, check=None).code == 0, "the dead manager removed"
        )
        assert set(lab.nodes(one)) == {one.name, leader.name}
        lab.running("web", 3, on=one)
