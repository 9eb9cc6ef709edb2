"""Jobs by the docker client, the docker SDK and covey: runs, failures, runs again, global jobs, stacks and their dependants."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path

import docker
import pytest
from docker.types import ServiceMode

from tests.support import labs
from tests.support.labs import IMAGE, LabCluster

pytestmark = pytest.mark.root

COVEY = labs.PYTHON_BIN / "covey"


def create(lab: LabCluster, name: str, *arguments: str, command: Sequence[str], mode: str = "replicated-job") -> str:
    flags = ("-d", "--no-resolve-image", "--stop-signal", "SIGKILL", "--mode", mode, "--name", name)
    return lab.docker("service", "create", *flags, *arguments, IMAGE, *command).out.strip()


def replicas(lab: LabCluster, name: str) -> str:
    return lab.docker("service", "ls", "--filter", f"name={name}", "--format", "{{.Mode}} {{.Replicas}}").out.strip()


def finished(lab: LabCluster, name: str, shown: str) -> None:
    labs.wait(lambda: replicas(lab, name) == shown, f"{name} to show {shown}, it is {replicas(lab, name)}")


def covey(lab: LabCluster, *arguments: str, check: int = 0) -> labs.CommandResult:
    return labs.run([COVEY, *arguments], env=lab.environment(), check=check)


def refused(lab: LabCluster, *arguments: str, program: str | Path = "docker") -> str:
    done = labs.run([program, *arguments], env=lab.environment(), check=None)
    assert done.code, arguments
    return done.err


def test_a_job_runs_its_completions_a_few_at_a_time_and_shows_them_as_swarm_does(lab: LabCluster) -> None:
    """The expected texts and fields are those of Docker 20.10 for the same commands."""
    identity = create(
        lab, "sums", "--replicas", "5", "--max-concurrent", "2", command=["sh", "-c", "echo did $HOSTNAME; sleep 0.3"]
    )
    running = labs.wait(lambda: lab.tasks("sums", desired="complete", state="running"), "the first tasks")
    assert len(running) <= 2
    finished(lab, "sums", "replicated job 0/2 (5/5 completed)")
    (row,) = lab.docker("service", "ls", "--format", "{{.ID}} {{.Name}} {{.Mode}} {{.Replicas}} {{.Image}}").lines
    assert row == f"{identity[:12]} sums replicated job 0/2 (5/5 completed) {IMAGE}"
    tasks = lab.get("/tasks", service=["sums"])
    names = lab.docker("service", "ps", "--format", "{{.Name}} {{.DesiredState}}", "sums").lines
    (first,) = [task for task in tasks if "Slot" not in task]
    assert sorted(names) == sorted(
        [*[f"sums.{slot} Complete" for slot in range(1, 5)], f"sums.{first['NodeID']} Complete"]
    )
    assert all((task["DesiredState"], task["JobIteration"]) == ("complete", {}) for task in tasks)
    (service,) = lab.json("service", "inspect", "sums")
    assert service["Spec"]["Mode"] == {"ReplicatedJob": {"MaxConcurrent": 2, "TotalCompletions": 5}}
    assert service["JobStatus"]["JobIteration"] == {}
    assert service["JobStatus"]["LastExecution"] <= service["UpdatedAt"]
    assert "Service Mode:" in lab.docker("service", "inspect", "--pretty", "sums").out
    status = lab.get("/services?status=true")[0]["ServiceStatus"]
    assert status == {"RunningTasks": 0, "DesiredTasks": 2, "CompletedTasks": 5}
    assert lab.docker("service", "logs", "--raw", "sums").out.count("did ") == 5
    lab.docker("service", "rm", "sums")
    labs.wait(lambda: not lab.get("/tasks"), "the removal of the tasks")


def test_the_docker_client_waits_until_a_job_is_complete(lab: LabCluster) -> None:
    flags = (
        "--no-resolve-image",
        "--mode",
        "replicated-job",
        "--replicas",
        "3",
        "--max-concurrent",
        "2",
        "--name",
        "work",
    )
    said = lab.docker("service", "create", *flags, IMAGE, "sh", "-c", "sleep 0.5")
    assert "job complete" in said.out
    assert replicas(lab, "work") == "replicated job 0/2 (3/3 completed)"
    said = lab.docker("service", "update", "--force", "work")
    assert "job complete" in said.out
    assert lab.get("/services/work")["JobStatus"]["JobIteration"] == {"Index": 1}
    assert {task["JobIteration"].get("Index", 0) for task in lab.get("/tasks", service=["work"])} == {0, 1}
    everywhere = ("--no-resolve-image", "--mode", "global-job", "--name", "all")
    assert "job complete" in lab.docker("service", "create", *everywhere, IMAGE, "true").out
    nodes = len(lab.nodes())
    assert replicas(lab, "all") == f"global job 0/0 ({nodes}/{nodes} completed)"
    assert len({task["NodeID"] for task in lab.get("/tasks", service=["all"])}) == nodes


def test_a_run_again_ends_the_tasks_of_the_last_before_its_own_begin(lab: LabCluster) -> None:
    create(lab, "long", command=labs.SLEEP)
    (old,) = labs.wait(lambda: lab.tasks("long", desired="complete", state="running"), "the first run")
    lab.docker("service", "update", "-d", "--label-add", "a=b", "long")
    assert lab.get("/services/long")["JobStatus"]["JobIteration"] == {}, "labels alone do not run a job again"
    lab.docker("service", "update", "-d", "--force", "--args", "true", "long")
    finished(lab, "long", "replicated job 0/1 (1/1 completed)")
    tasks = lab.get("/tasks", service=["long"])
    assert old["ID"] not in [task["ID"] for task in tasks if task["Status"]["State"] == "running"]
    lab.docker("service", "rollback", "-d", "long")
    labs.wait(lambda: lab.tasks("long", desired="complete", state="running"), "the run with the previous spec")
    assert lab.get("/services/long")["JobStatus"]["JobIteration"] == {"Index": 2}
    lab.docker("service", "scale", "-d", "long=2")
    assert lab.get("/services/long")["Spec"]["Mode"]["ReplicatedJob"] == {"MaxConcurrent": 1, "TotalCompletions": 2}


def test_failed_tasks_are_tried_again_as_often_as_the_policy_says(lab: LabCluster) -> None:
    create(
        lab,
        "bad",
        "--restart-max-attempts",
        "1",
        "--restart-delay",
        "100ms",
        "--replicas",
        "2",
        command=["sh", "-c", "exit 3"],
    )

    def ended() -> list:
        tasks = lab.get("/tasks", service=["bad"])
        return tasks if [task["Status"]["State"] for task in tasks] == ["failed"] * 4 else []

    tasks = labs.wait(ended, "two attempts of each of two tasks")
    assert {(task["DesiredState"], task["Status"]["Err"]) for task in tasks} == {
        ("shutdown", "task: non-zero exit (3)")
    }
    assert replicas(lab, "bad") == "replicated job 0/2 (0/2 completed)"
    once = "test -e /data/seen || { touch /data/seen; exit 1; }"
    mount = ("--mount", "type=volume,source=seen,target=/data", "--constraint", f"node.id=={lab.node_id(lab[1])}")
    create(lab, "second", "--restart-delay", "100ms", *mount, command=["sh", "-c", once])
    finished(lab, "second", "replicated job 0/1 (1/1 completed)")
    states = [task["Status"]["State"] for task in lab.get("/tasks", service=["second"])]
    assert sorted(states) == ["complete", "failed"]


REFUSED = [
    (("create", "--mode", "replicated-job", "--update-delay", "2s", IMAGE), "not supported for jobs"),
    (("create", "--mode", "global-job", "--rollback-delay", "2s", IMAGE), "not supported for jobs"),
    (
        ("create", "--mode", "global-job", "--replicas", "2", IMAGE),
        "can only be used with replicated or replicated-job",
    ),
    (("create", "--mode", "global-job", "--max-concurrent", "2", IMAGE), "can only be used with replicated-job mode"),
    (("create", "--max-concurrent", "2", IMAGE), "can only be used with replicated-job mode"),
    (("update", "--replicas", "2", "all"), "replicas can only be used with replicated mode"),
    (("update", "--update-parallelism", "2", "all"), "Jobs may not have an update config"),
    (("scale", "all=2"), "scale can only be used with replicated or replicated-job mode"),
]


def test_both_clients_refuse_what_a_job_cannot_have_with_the_same_words(lab: LabCluster) -> None:
    create(lab, "all", mode="global-job", command=["true"])
    for arguments, words in REFUSED:
        assert words in refused(lab, "service", *arguments)
        assert words in refused(lab, "service", *arguments, program=COVEY)
    before = lab.get("/services/all")["Version"]
    for mode in (
        {"ReplicatedJob": {"MaxConcurrent": 0, "TotalCompletions": 3}},
        {"ReplicatedJob": {}, "GlobalJob": {}},
    ):
        spec = {"Name": "wrong", "Mode": mode, "TaskTemplate": {"ContainerSpec": {"Image": IMAGE}}}
        assert lab.request("POST", "/services/create", spec)[0] == 400
    assert lab.get("/services/all")["Version"] == before
    assert [service["Spec"]["Name"] for service in lab.get("/services")] == ["all"]


def test_the_docker_sdk_creates_a_job_and_runs_it_again(lab: LabCluster) -> None:
    client = docker.DockerClient(base_url=f"unix://{lab.managers[1].socket}", timeout=60)
    with contextlib.closing(client):
        mode = ServiceMode("replicated-job", replicas=2, concurrency=1)
        service = client.services.create(IMAGE, "true", name="sdk", mode=mode)
        finished(lab, "sdk", "replicated job 0/1 (2/2 completed)")
        assert service.force_update()
        service.reload()
        assert service.attrs["JobStatus"]["JobIteration"] == {"Index": 1}
        finished(lab, "sdk", "replicated job 0/1 (2/2 completed)")


def test_covey_waits_for_jobs_and_tells_why_one_failed(lab: LabCluster) -> None:
    flags = ("--no-resolve-image", "--mode", "replicated-job", "--restart-condition", "none")
    done = covey(lab, "service", "create", *flags, "--replicas", "3", "--name", "good", IMAGE, "true")
    assert done.out.splitlines()[-1] == "good: 3 of 3 tasks complete"
    failed = covey(
        lab, "service", "create", *flags, "--replicas", "2", "--name", "bad", IMAGE, "sh", "-c", "exit 7", check=1
    )
    assert "service bad: the job failed: 2 of 2 tasks: task: non-zero exit (7)" in failed.err
    assert covey(lab, "service", "update", "--force", "good").out.splitlines()[-1] == "good: 3 of 3 tasks complete"
    assert covey(lab, "service", "scale", "good=1").out.splitlines()[-1] == "good: 1 of 1 tasks complete"
    for columns in ("{{.Name}} {{.Mode}} {{.Replicas}}", "{{.ID}}"):
        listed = ("service", "ls", "--format", columns)
        assert covey(lab, *listed).out == lab.docker(*listed).out
    everywhere = covey(
        lab, "service", "create", "--no-resolve-image", "--mode", "global-job", "--name", "all", IMAGE, "true"
    )
    assert everywhere.out.splitlines()[-1] == f"all: {len(lab.nodes())} of {len(lab.nodes())} tasks complete"
    pretty = covey(lab, "service", "inspect", "--pretty", "good").out
    assert {"Service Mode: Replicated job", "Total Completions: 1"} <= {
        " ".join(line.split()) for line in pretty.splitlines()
    }


STACK = f"""
services:
  web:
    image: {IMAGE}
    command: ["sleep", "1000000"]
    stop_signal: SIGKILL
    depends_on:
      migrate: {{condition: service_completed_successfully}}
  migrate:
    image: {IMAGE}
    command: ["sh", "-c", "sleep 1"]
    deploy: {{mode: replicated-job, replicas: 2}}
  everywhere:
    image: {IMAGE}
    command: ["true"]
    deploy: {{mode: global-job}}
"""


DEPENDENCY = """    depends_on:
      migrate: {condition: service_completed_successfully}
"""


@pytest.mark.parametrize("client", ["covey", "docker"])
def test_a_stack_with_jobs_is_deployed_and_waited_for_by_both_clients(
    lab: LabCluster, tmp_path: Path, client: str
) -> None:
    file = tmp_path / "stack.yml"
    file.write_text(STACK if client == "covey" else f"version: '3.9'\n{STACK}".replace(DEPENDENCY, ""))
    deploy = ("stack", "deploy", "--detach=false", "--resolve-image", "never", "-c", str(file), "app")
    covey(lab, *deploy) if client == "covey" else lab.docker(*deploy)
    nodes = len(lab.nodes())
    assert replicas(lab, "app_migrate") == "replicated job 0/2 (2/2 completed)"
    assert replicas(lab, "app_everywhere") == f"global job 0/0 ({nodes}/{nodes} completed)"
    (web,) = lab.running("app_web", 1)
    ended = [task["Status"]["Timestamp"] for task in lab.get("/tasks", service=["app_migrate"])]
    assert client == "docker" or web["Status"]["Timestamp"] > max(ended)
    covey(lab, *deploy) if client == "covey" else lab.docker(*deploy)
    runs = [lab.get(f"/services/app_{name}")["JobStatus"]["JobIteration"] for name in ("migrate", "everywhere")]
    assert runs == [{}, {}], "a stack without changes runs no job again"
    covey(lab, "stack", "rm", "app")
