"""Failures of hosts and daemons: crash, power loss, network cut. Containers keep running, replicas are replaced, surplus ones end."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from node.lab import cluster as lab_cluster
from node.lab.layout import LabHost
from tests.support import labs
from tests.support.labs import LabCluster

pytestmark = pytest.mark.root
ORPHANED_SECONDS = 180.0  # tasks are orphaned after 60 s; the rest is room for a busy machine


@pytest.fixture(scope="module")
def hosts(images: Path) -> Iterator[LabCluster]:
    with labs.running_lab("hosts", 1, 3, archive=images) as found:
        # The manager takes no tasks, so that tests can kill any host that runs tasks.
        found.docker("node", "update", "--availability", "drain", found[1].name)
        yield found


@pytest.fixture
def workers(hosts: LabCluster) -> Iterator[LabCluster]:
    hosts.restore_all_hosts()
    yield hosts
    hosts.restore_all_hosts()
    hosts.remove_all_objects()


@pytest.fixture
def slow_heartbeats(workers: LabCluster) -> Iterator[None]:
    """Heartbeats every 10 s. On a busy machine a daemon may need more than the default 2 s to restart."""
    workers.docker("swarm", "update", "--dispatcher-heartbeat", "10s")
    yield
    workers.docker("swarm", "update", "--dispatcher-heartbeat", "1s")


def tasks_by_host(lab: LabCluster, tasks: list[dict]) -> dict[LabHost, list[dict]]:
    placed: dict[LabHost, list[dict]] = {}
    for task, host in zip(tasks, lab.hosts_of(tasks), strict=True):
        placed.setdefault(host, []).append(task)
    return placed


@pytest.mark.usefixtures("slow_heartbeats")
def test_containers_survive_a_daemon_crash_and_are_adopted_unchanged(workers: LabCluster) -> None:
    workers.docker("network", "create", "-d", "overlay", "net")
    workers.docker("secret", "create", "word", "-", stdin=b"word")
    workers.service("web", "--replicas", "3", "--network", "net", "--secret", "word", command=labs.WEB)
    tasks = workers.running("web", 3)
    host = workers.host_of(tasks[0])
    before = workers.covey_containers(host)
    lab_cluster.crash(host)
    for pid in before.values():
        assert "httpd" in workers.inside(host, "cat", f"/proc/{pid}/cmdline").out
    # Without its daemon the container still serves at the same address.
    other = next(task for task in tasks if workers.host_of(task) != host)
    address = next(t for t in tasks if workers.host_of(t) == host)["NetworksAttachments"][0]["Addresses"][0].split("/")[
        0
    ]
    assert workers.execute(other, "wget", "-q", "-O", "-", f"http://{address}/").out == "ok\n"
    workers.start(host)
    workers.wait_ready()
    assert workers.covey_containers(host) == before
    after = workers.running("web", 3)
    assert {task["ID"] for task in after} == {task["ID"] for task in tasks}
    adopted = next(t for t in after if workers.host_of(t) == host)
    assert workers.execute(adopted, "cat", "/run/secrets/word").out == "word"
    assert workers.execute(adopted, "nslookup", "web").out.count("Address") >= 2
    assert workers.execute(other, "wget", "-q", "-O", "-", f"http://{address}/").out == "ok\n"


@pytest.mark.usefixtures("slow_heartbeats")
def test_a_container_exit_during_daemon_downtime_is_reported_with_its_exit_code(workers: LabCluster) -> None:
    script = "while [ ! -e /tmp/end ]; do sleep 0.1; done; exit 7"
    workers.service("ends", "--restart-condition", "none", command=("sh", "-c", script))
    task = workers.running("ends", 1)[0]
    host, container = workers.host_of(task), workers.container(task)
    pid = workers.covey_containers(host)[container]
    lab_cluster.crash(host)
    workers.inside(host, "touch", f"/proc/{pid}/root/tmp/end")
    labs.wait(lambda: workers.inside(host, "test", "-d", f"/proc/{pid}", check=None).code, "the container to end")
    ended = time.time()
    workers.start(host)

    def failed() -> list:
        return workers.tasks("ends", desired="", state="failed")

    reported = labs.wait(failed, "the report of the exit")[0]
    assert reported["ID"] == task["ID"]
    assert reported["Status"]["ContainerStatus"]["ExitCode"] == 7
    assert "non-zero exit (7)" in workers.docker("service", "ps", "--no-trunc", "ends").out
    shown = workers.get(f"/containers/{container}/json", on=host)["State"]
    assert shown["ExitCode"] == 7
    assert shown["FinishedAt"] < time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(ended + 1))


def test_replicas_of_a_dead_host_are_replaced_and_its_return_makes_no_duplicates(workers: LabCluster) -> None:
    workers.service("web", "--replicas", "6")
    placed = tasks_by_host(workers, workers.running("web", 6))
    assert len(placed) > 1
    dead, lost = next(iter(placed.items()))
    workers.kill(dead)
    labs.wait(lambda: workers.nodes()[dead.name]["Status"]["State"] == "down", "the dead host shown as down")

    def moved() -> bool:
        return dead not in workers.hosts_of(workers.running("web", 6))

    labs.wait(moved, "six replicas on the remaining hosts")
    kept = {t["ID"] for host, tasks in placed.items() if host != dead for t in tasks}
    now = {task["ID"] for task in workers.running("web", 6)}
    assert kept < now, "replicas on healthy hosts were restarted"
    assert not {task["ID"] for task in lost} & now
    workers.start(dead)
    workers.wait_ready()
    assert {task["ID"] for task in workers.running("web", 6)} == now
    labs.wait(lambda: not workers.covey_containers(dead), "no container on the host that returned")


def test_replicas_of_a_cut_host_are_replaced_and_surplus_ones_end_after_healing(workers: LabCluster) -> None:
    workers.service("web", "--replicas", "3")
    placed = tasks_by_host(workers, workers.running("web", 3))
    cut = next(iter(placed))
    old = workers.covey_containers(cut)
    assert len(old) == 1
    workers.cut(cut)

    def moved() -> bool:
        return cut not in workers.hosts_of(workers.running("web", 3))

    labs.wait(moved, "three replicas on the reachable hosts")
    # The cut host keeps its containers: the managers may be the ones that are cut off.
    assert workers.covey_containers(cut) == old
    now = {task["ID"] for task in workers.running("web", 3)}
    workers.heal(cut)
    labs.wait(lambda: not workers.covey_containers(cut), "the surplus container to end")
    assert {task["ID"] for task in workers.running("web", 3)} == now
    assert workers.nodes()[cut.name]["Status"]["State"] == "ready"


def test_tasks_removed_while_their_host_was_cut_end_after_healing(workers: LabCluster) -> None:
    """1. A host is cut until its tasks are orphaned. 2. Their service, network and secret are removed. 3. The host returns. Nothing in the
    store refers to its containers any more; it must end them.
    """
    workers.docker("secret", "create", "word", "-", stdin=b"word")
    workers.docker("network", "create", "-d", "overlay", "net")
    workers.service("gone", "--replicas", "3", "--secret", "word", "--network", "net")
    cut = workers.hosts_of(workers.running("gone", 3))[0]
    workers.cut(cut)
    labs.wait(lambda: workers.nodes()[cut.name]["Status"]["State"] == "down", "the cut host shown as down")
    workers.docker("service", "rm", "gone")
    labs.wait(lambda: len(workers.get("/tasks")) == 1, "the tasks on reachable hosts to end")
    labs.wait(lambda: not workers.get("/tasks"), "the task on the cut host to be orphaned", ORPHANED_SECONDS)
    workers.docker("secret", "rm", "word")
    workers.docker("network", "rm", "net")
    assert len(workers.covey_containers(cut)) == 1
    workers.heal(cut)
    labs.wait(lambda: not workers.get("/containers/json?all=1", on=cut), "the containers without a task to end")
    labs.wait(lambda: not workers.inside(cut, "find", "/run/covey/secrets", "-type", "f").out, "its secrets removed")
    labs.wait(lambda: not workers.inside(cut, "ls", "/run/covey/netns/networks").out, "its network removed")


def test_a_cut_of_half_a_second_moves_no_replica(workers: LabCluster) -> None:
    """Streams survive or reconnect, and no replica is restarted."""
    workers.service("web", "--replicas", "3")
    before = {task["ID"] for task in workers.running("web", 3)}
    host = workers.hosts_of(workers.running("web", 3))[0]
    workers.cut(host)
    began = time.monotonic()
    labs.wait(lambda: time.monotonic() - began > 0.5, "half a second", 5)
    workers.heal(host)
    workers.wait_ready()
    assert {task["ID"] for task in workers.running("web", 3)} == before


def test_a_killed_container_is_replaced_by_a_new_task(workers: LabCluster) -> None:
    workers.service("web", "--restart-delay", "100ms")
    task = workers.running("web", 1)[0]
    workers.docker("kill", workers.container(task), on=workers.host_of(task))

    def replaced() -> list:
        return [t for t in workers.running("web", 1) if t["ID"] != task["ID"]]

    labs.wait(replaced, "a new task instead of the killed one")
    history = workers.tasks("web", desired="shutdown")
    assert [t["ID"] for t in history] == [task["ID"]]
    assert history[0]["Status"]["ContainerStatus"]["ExitCode"] == 137


def test_a_node_that_leaves_is_shown_down_and_its_replicas_are_replaced(workers: LabCluster) -> None:
    host = workers.hosts[3]
    old = workers.node_id(host)
    workers.service("web", "--replicas", "3")
    workers.running("web", 3)
    refused = workers.docker("node", "rm", host.name, check=1)
    assert "is not down" in refused.err, refused.err
    workers.docker("swarm", "leave", on=host)
    assert workers.get("/info", on=host)["Swarm"]["LocalNodeState"] == "inactive"
    assert not workers.get("/containers/json?all=1", on=host), "containers of the cluster that was left"
    labs.wait(lambda: workers.nodes()[host.name]["Status"]["State"] == "down", "the node shown as down")
    labs.wait(lambda: host not in workers.hosts_of(workers.running("web", 3)), "its replica elsewhere")
    workers.docker("node", "rm", host.name)
    assert host.name not in workers.nodes()
    token = workers.docker("swarm", "join-token", "-q", "worker").out.strip()
    workers.docker("swarm", "join", "--token", token, f"{workers[1].address}:2377", on=host)
    labs.wait(
        lambda: workers.nodes().get(host.name, {}).get("Status", {}).get("State") == "ready", "the node that joined"
    )
    assert workers.node_id(host) != old


def test_a_node_removed_while_cut_ends_its_tasks_after_healing(workers: LabCluster) -> None:
    """1. A host is cut. 2. It is removed by force. 3. The cut heals. The host must not continue as a member."""
    host = workers.hosts[2]
    workers.service("web", "--replicas", "3")
    workers.running("web", 3)
    assert workers.covey_containers(host)
    workers.cut(host)
    labs.wait(lambda: workers.nodes()[host.name]["Status"]["State"] == "down", "the cut host shown as down")
    workers.docker("node", "rm", "--force", host.name)
    workers.heal(host)
    labs.wait(lambda: not workers.covey_containers(host), "the containers on the removed node to end")
    workers.docker("swarm", "leave", "--force", on=host)
    token = workers.docker("swarm", "join-token", "-q", "worker").out.strip()
    workers.docker("swarm", "join", "--token", token, f"{workers[1].address}:2377", on=host)
    labs.wait(
        lambda: workers.nodes().get(host.name, {}).get("Status", {}).get("State") == "ready",
        "the host to be ready again",
    )


@pytest.mark.usefixtures("slow_heartbeats")
def test_a_restarted_daemon_learns_the_new_addresses_of_moved_tasks(workers: LabCluster) -> None:
    """Its containers keep their addresses. DNS names and routes are updated when the daemon is back, without a restart of the containers."""
    here, there, elsewhere = workers.workers
    workers.docker("network", "create", "-d", "overlay", "net")
    workers.service("client", "--network", "net", "--constraint", f"node.hostname=={here.name}")
    client = workers.running("client", 1)[0]
    web = ("--network", "net", "--endpoint-mode", "dnsrr", "--update-monitor", "100ms")
    workers.service("web", *web, "--constraint", f"node.hostname=={there.name}", command=labs.WEB)
    workers.running("web", 1)
    reach = ("timeout", "3", "wget", "-q", "-O", "-", "http://web/")
    assert workers.execute(client, *reach).out == "ok\n"
    lab_cluster.crash(here)
    away = ("--constraint-rm", f"node.hostname=={there.name}", "--constraint-add", f"node.hostname=={elsewhere.name}")
    workers.docker("service", "update", "-d", *away, "web", on=workers[1])
    labs.wait(
        lambda: workers.hosts_of(workers.running("web", 1, on=workers[1])) == [elsewhere], "web on the other host"
    )
    workers.start(here)
    workers.wait_ready()
    labs.wait(
        lambda: workers.execute(client, *reach, check=None).out == "ok\n", "the client to reach web on its new host"
    )
    assert workers.running("client", 1)[0]["ID"] == client["ID"]


@pytest.mark.usefixtures("slow_heartbeats")
def test_a_daemon_that_crashes_repeatedly_keeps_its_containers(workers: LabCluster) -> None:
    workers.service("web", "--replicas", "3", command=labs.WEB)
    tasks = workers.running("web", 3)
    host = workers.host_of(tasks[0])
    before = workers.covey_containers(host)
    for _ in range(4):
        lab_cluster.crash(host)
        workers.start(host)  # not ready yet when the next crash comes
    workers.wait_ready()
    assert workers.covey_containers(host) == before
    assert {task["ID"] for task in workers.running("web", 3)} == {task["ID"] for task in tasks}
