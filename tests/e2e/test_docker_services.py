"""The docker client on services: create, ls, ps, inspect, rolling update, scale, rollback, logs, rm."""

import json
import subprocess
import time

import pytest

from tests.support import labs
from tests.support.labs import IMAGE, OTHER_IMAGE, LabCluster

pytestmark = pytest.mark.root


def test_create_waits_until_the_service_has_converged(lab: LabCluster) -> None:
    create = ("service", "create", "--name", "web", "--replicas", "2", "--no-resolve-image", "--stop-signal", "SIGKILL")
    said = lab.docker(*create, IMAGE, *labs.SLEEP)
    assert "converged" in said.out
    assert len(lab.tasks("web", state="running")) == 2


def test_a_service_without_a_name_gets_a_generated_one(lab: LabCluster) -> None:
    for _ in range(2):
        lab.docker("service", "create", "-d", "--no-resolve-image", "--stop-signal", "SIGKILL", IMAGE, *labs.SLEEP)
    names = lab.docker("service", "ls", "--format", "{{.Name}}").lines
    assert len(set(names)) == 2
    assert all(name.count("_") == 1 for name in names), names
    lab.running(names[0], 1)


def test_ls_ps_and_inspect_show_the_service_and_its_tasks(lab: LabCluster) -> None:
    identity = lab.service(
        "web", "--replicas", "3", "--label", "tier=front", "--env", "A=b c", "--workdir", "/tmp", "--user", "65534"
    )
    lab.service("other")
    lab.running("web", 3)
    rows = lab.docker(
        "service", "ls", "--filter", "name=web", "--format", "{{.ID}} {{.Name}} {{.Mode}} {{.Replicas}} {{.Image}}"
    ).lines
    assert rows == [f"{identity[:12]} web replicated 3/3 {IMAGE}"]
    assert lab.docker("service", "ls", "-q", "--filter", "label=tier=front").lines == [identity[:12]]
    assert lab.docker("service", "ls", "-q", "--filter", "mode=global").lines == []
    tasks = lab.docker("service", "ps", "--format", "{{.Name}} {{.DesiredState}} {{.CurrentState}}", "web").lines
    assert sorted(line.split()[0] for line in tasks) == ["web.1", "web.2", "web.3"]
    assert all("Running" in line for line in tasks)
    (service,) = lab.json("service", "inspect", "web")
    spec = service["Spec"]
    assert spec["Labels"] == {"tier": "front"}
    assert spec["Mode"] == {"Replicated": {"Replicas": 3}}
    container = spec["TaskTemplate"]["ContainerSpec"]
    assert (container["Image"], container["Env"], container["Dir"], container["User"]) == (
        IMAGE,
        ["A=b c"],
        "/tmp",
        "65534",
    )
    assert "Replicas:\t3" in lab.docker("service", "inspect", "--pretty", identity[:8]).out
    task = lab.running("web", 3)[0]
    assert lab.execute(task, "sh", "-c", "echo $A; pwd; id -u").lines == ["b c", "/tmp", "65534"]
    assert lab.docker("inspect", "--type", "service", "-f", "{{.Spec.Name}}", "web").out == "web\n"


UPDATES = [
    (("--env-add", "NEW=1", "--env-rm", "OLD"), ("sh", "-c", "echo $NEW$OLD"), "1\n"),
    (("--image", OTHER_IMAGE), ("sh", "-c", "echo same $OLD"), "same 0\n"),
    (("--args", "sleep 999999"), ("sh", "-c", "tr '\\0' ' ' < /proc/1/cmdline"), "sleep 999999 "),
    (("--user", "65534"), ("id", "-u"), "65534\n"),
    (("--container-label-add", "x=y"), ("true",), ""),
    (("--hostname", "named"), ("hostname",), "named\n"),
    (("--host-add", "friend:192.0.2.9"), ("grep", "-c", "friend", "/etc/hosts"), "1\n"),
    (("--mount-add", "type=tmpfs,target=/scratch"), ("sh", "-c", "grep -c /scratch /proc/mounts"), "1\n"),
    (("--read-only",), ("sh", "-c", "touch /file 2>&1 | grep -c Read-only"), "1\n"),
    (("--force",), ("true",), ""),
]


@pytest.mark.parametrize(("options", "probe", "answer"), UPDATES, ids=[" ".join(row[0]) for row in UPDATES])
def test_an_update_replaces_tasks_and_changes_only_the_given_fields(
    lab: LabCluster, options: tuple[str, ...], probe: tuple[str, ...], answer: str
) -> None:
    lab.service("web", "--env", "OLD=0", "--label", "kept=yes", "--update-monitor", "100ms")
    before = lab.running("web", 1)[0]
    lab.docker("service", "update", "-d", "--no-resolve-image", *options, "web")

    def replaced() -> list:
        return [task for task in lab.running("web", 1) if task["ID"] != before["ID"]]

    task = labs.wait(replaced, "the updated task")[0]
    assert lab.execute(task, *probe).out == answer
    (service,) = lab.json("service", "inspect", "web")
    assert service["Spec"]["Labels"] == {"kept": "yes"}
    assert service["PreviousSpec"]["TaskTemplate"] != service["Spec"]["TaskTemplate"]
    labs.wait(
        lambda: lab.json("service", "inspect", "web")[0]["UpdateStatus"]["State"] == "completed",
        "the update to complete",
    )


def test_changing_service_labels_restarts_no_task(lab: LabCluster) -> None:
    lab.service("web", "--replicas", "2", "--label", "a=1")
    before = {task["ID"] for task in lab.running("web", 2)}
    lab.docker("service", "update", "-d", "--label-add", "b=2", "--label-rm", "a", "web")
    assert lab.get("/services/web")["Spec"]["Labels"] == {"b": "2"}
    lab.docker("service", "scale", "-d", "web=4")
    assert before < {task["ID"] for task in lab.running("web", 4)}


def test_services_scale_up_and_down_with_scale_and_update(lab: LabCluster) -> None:
    lab.service("one")
    lab.service("two")
    assert "one scaled to 3" in lab.docker("service", "scale", "-d", "one=3", "two=2").out
    lab.running("one", 3)
    lab.running("two", 2)
    lab.docker("service", "update", "-d", "--replicas", "0", "one")
    assert labs.wait(lambda: not lab.tasks("one", state="running"), "no replica")
    assert lab.docker("service", "ls", "--filter", "name=one", "--format", "{{.Replicas}}").out == "0/0\n"
    refused = lab.docker("service", "scale", "-d", "one=-1", check=1)
    assert refused.err.strip()


def test_a_rolling_update_respects_its_parallelism(lab: LabCluster) -> None:
    """Parallelism 2, start-first, six replicas: at least six tasks run and at most eight are desired."""
    lab.service(
        "web",
        "--replicas",
        "6",
        "--update-parallelism",
        "2",
        "--update-order",
        "start-first",
        "--update-monitor",
        "200ms",
    )
    old = {task["ID"] for task in lab.running("web", 6)}
    lab.docker("service", "update", "-d", "--env-add", "V=2", "web")
    fewest, most = 6, 6

    def done() -> bool:
        nonlocal fewest, most
        tasks = lab.tasks("web")
        fewest = min(fewest, sum(task["Status"]["State"] == "running" for task in tasks))
        most = max(most, len(tasks))
        return lab.get("/services/web").get("UpdateStatus", {}).get("State") == "completed"

    labs.wait(done, "the rolling update to complete")
    assert not {task["ID"] for task in lab.running("web", 6)} & old
    assert fewest >= 6, fewest
    assert most <= 8, most


def test_a_failing_update_pauses_and_a_rollback_restores_the_old_spec(lab: LabCluster) -> None:
    lab.service("web", "--replicas", "3", "--update-monitor", "2s", "--restart-delay", "100ms")
    good = {task["ID"] for task in lab.running("web", 3)}
    lab.docker("service", "update", "-d", "--args", "false", "web")

    def state() -> dict:
        return lab.get("/services/web").get("UpdateStatus", {})

    labs.wait(lambda: state().get("State") == "paused", "the failing update to pause")
    assert "paused" in state()["Message"], state()
    assert good & {task["ID"] for task in lab.tasks("web", state="running")}, "the update continued despite failures"
    lab.docker("service", "rollback", "-d", "web")
    labs.wait(lambda: state().get("State") == "rollback_completed", "the rollback to complete")
    assert lab.json("service", "inspect", "web")[0]["Spec"]["TaskTemplate"]["ContainerSpec"]["Args"] == list(labs.SLEEP)
    assert len(lab.running("web", 3)) == 3


def test_a_failing_update_rolls_back_automatically_if_configured(lab: LabCluster) -> None:
    options = ("--update-failure-action", "rollback", "--update-monitor", "2s", "--rollback-monitor", "100ms")
    lab.service("web", "--replicas", "2", "--restart-delay", "100ms", *options)
    lab.running("web", 2)
    lab.docker("service", "update", "-d", "--args", "false", "web")
    labs.wait(
        lambda: lab.get("/services/web").get("UpdateStatus", {}).get("State") == "rollback_completed",
        "the automatic rollback",
    )
    lab.running("web", 2)
    assert lab.json("service", "inspect", "web")[0]["Spec"]["TaskTemplate"]["ContainerSpec"]["Args"] == list(labs.SLEEP)


def test_service_ps_shows_the_task_history_with_errors(lab: LabCluster) -> None:
    lab.service("fails", "--restart-delay", "100ms", "--restart-max-attempts", "2", command=("sh", "-c", "exit 3"))

    def failed() -> list:
        return lab.tasks("fails", desired="", state="failed")

    labs.wait(lambda: len(failed()) == 3, "three failed tasks")
    rows = lab.docker(
        "service", "ps", "--no-trunc", "--format", "{{.Name}} {{.DesiredState}} {{.Error}}", "fails"
    ).lines
    assert len(rows) == 3
    assert all("non-zero exit (3)" in row for row in rows)
    assert lab.docker("service", "ps", "-q", "--filter", "desired-state=running", "fails").lines == []


def test_service_rm_removes_its_tasks_everywhere(lab: LabCluster) -> None:
    lab.service("web", "--replicas", "5")
    lab.running("web", 5)
    assert lab.docker("service", "rm", "web").out == "web\n"
    assert lab.docker("service", "ps", "web", check=1).err.startswith("no such service: web")
    labs.wait(lambda: not any(lab.covey_containers(host) for host in lab.hosts), "no container on any host")
    labs.wait(
        lambda: not any(lab.get("/containers/json?all=1", on=host) for host in lab.hosts), "no stopped container either"
    )


def test_node_ps_lists_the_tasks_of_a_node(lab: LabCluster) -> None:
    lab.service("everywhere", "--mode", "global")
    lab.running("everywhere", 5)
    for host in (lab.managers[1], lab.workers[1]):
        rows = lab.docker("node", "ps", "--format", "{{.Name}} {{.Node}}", host.name).lines
        assert len(rows) == 1
        assert rows[0].startswith("everywhere.")
        assert rows[0].endswith(host.name)


# Logs


def lines_of(said: str) -> list[str]:
    return [line.partition("| ")[2] for line in said.splitlines()]


def test_service_logs_of_all_hosts_are_available_on_any_manager(lab: LabCluster) -> None:
    lab.service(
        "talks", "--mode", "global", command=("sh", "-c", "echo from $(hostname); echo bad >&2; exec sleep 100000")
    )
    tasks = lab.running("talks", 5)
    followers = [host for host in lab.managers if host != lab.wait_leader()]
    for manager in (*followers, lab.wait_leader()):
        ran = labs.wait(
            lambda m=manager: (r := lab.docker("service", "logs", "talks", on=m)) and r.out.count("from") == 5 and r,
            f"five lines through {manager.name}",
        )
        assert {line.split("@")[1].split()[0] for line in ran.lines} == {host.name for host in lab.hosts}
        assert ran.err.count("bad") == 5
    one = tasks[0]
    said = lab.docker("service", "logs", "--raw", one["ID"]).out
    assert said.count("from") == 1
    assert "|" not in said


def test_service_logs_with_tail_timestamps_and_since(lab: LabCluster) -> None:
    lab.service("counts", command=("sh", "-c", "for i in $(seq 20); do echo line $i; done; exec sleep 100000"))
    lab.running("counts", 1)
    labs.wait(lambda: len(lab.docker("service", "logs", "counts").lines) == 20, "twenty lines")
    assert lines_of(lab.docker("service", "logs", "--tail", "3", "counts").out) == ["line 18", "line 19", "line 20"]
    stamped = lab.docker("service", "logs", "--timestamps", "--tail", "1", "counts").out
    stamp = stamped.split()[0]
    assert stamp[:4].isdigit()
    assert stamp.endswith("Z")
    ahead = str(int(time.time()) + 60)
    assert lab.docker("service", "logs", "--since", ahead, "counts").out == ""
    assert len(lab.docker("service", "logs", "--since", "10m", "counts").lines) == 20
    assert "no such task or service" in lab.docker("service", "logs", "nobody", check=1).err


def test_following_service_logs_includes_new_tasks(lab: LabCluster) -> None:
    lab.service("clock", command=("sh", "-c", "while :; do echo tick $(hostname); sleep 0.2; done"))
    lab.running("clock", 1)
    follower = next(host for host in lab.managers if host != lab.wait_leader())
    command = ["docker", "service", "logs", "--follow", "--raw", "clock"]
    with subprocess.Popen(command, env=lab.environment(follower), stdout=subprocess.PIPE, text=True) as reader:
        try:
            assert reader.stdout is not None
            first = reader.stdout.readline()
            assert first.startswith("tick ")
            lab.docker("service", "scale", "-d", "clock=2")
            deadline = time.monotonic() + labs.SECONDS
            seen = {first}
            while len(seen) < 2 and time.monotonic() < deadline:
                seen.add(reader.stdout.readline())
            assert len(seen) == 2, f"the added task is not followed: {seen}"
        finally:
            reader.kill()


def test_sending_back_the_inspected_spec_restarts_no_task(lab: LabCluster) -> None:
    """An update with the spec that the client has read changes nothing."""
    lab.docker("network", "create", "-d", "overlay", "net")
    lab.service(
        "web",
        "--replicas",
        "2",
        "--network",
        "name=net,alias=w",
        "--limit-memory",
        "64m",
        "--health-cmd",
        "true",
        "--health-interval",
        "1s",
    )
    before = {task["ID"] for task in lab.running("web", 2)}
    shown = lab.get("/services/web")
    status, said = lab.request(
        "POST", f"/services/{shown['ID']}/update?version={shown['Version']['Index']}", shown["Spec"]
    )
    assert status == 200, said
    after = lab.get("/services/web")
    assert json.dumps(after["Spec"], sort_keys=True) == json.dumps(shown["Spec"], sort_keys=True)
    lab.docker("service", "update", "-d", "web")
    assert {task["ID"] for task in lab.running("web", 2)} == before
